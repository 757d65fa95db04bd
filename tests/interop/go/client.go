package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/containerd/ttrpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// A connection to our server, and what the cases say with it.
type client struct {
	*ttrpc.Client
	socket string
}

func dial(socket string) (*client, error) {
	connection, err := net.Dial("unix", socket)
	if err != nil {
		return nil, err
	}
	return &client{ttrpc.NewClient(wire(connection)), socket}, nil
}

func (c *client) ask(ctx context.Context, method string, request *message) ([]byte, error) {
	response := &message{}
	err := c.Call(ctx, service, method, request, response)
	return response.Value, err
}

// The answer must be this.
func (c *client) expect(method, request, response string) error {
	got, err := c.ask(context.Background(), method, text(request))
	if err != nil {
		return fmt.Errorf("%s(%q): %w", method, request, err)
	}
	if string(got) != response {
		return fmt.Errorf("%s(%q) = %q, not %q", method, request, got, response)
	}
	return nil
}

// The connection must still be good.
func (c *client) alive() error { return c.expect("Echo", "alive", "alive") }

// A stream, with a request when the client has only one to send.
func (c *client) open(method string, down bool, request *message) (ttrpc.ClientStream, error) {
	desc := &ttrpc.StreamDesc{StreamingClient: request == nil, StreamingServer: down}
	if request == nil {
		// A nil *message in an interface is not nil, and Go ttrpc would encode it.
		return c.NewStream(context.Background(), desc, service, method, nil)
	}
	return c.NewStream(context.Background(), desc, service, method, request)
}

func receive(stream ttrpc.ClientStream, want string) error {
	m := &message{}
	if err := stream.RecvMsg(m); err != nil {
		return fmt.Errorf("receiving %.40q: %w", want, err)
	}
	if string(m.Value) != want {
		return fmt.Errorf("received %d bytes %.40q, not %d bytes %.40q", len(m.Value), m.Value, len(want), want)
	}
	return nil
}

func receiveEnd(stream ttrpc.ClientStream) error {
	m := &message{}
	if err := stream.RecvMsg(m); !errors.Is(err, io.EOF) {
		return fmt.Errorf("received %q and %v, not the end", m.Value, err)
	}
	return nil
}

func receiveError(stream ttrpc.ClientStream, code codes.Code) error {
	return failed(stream.RecvMsg(&message{}), code)
}

// The error must have this code.
func failed(err error, code codes.Code) error {
	if err == nil {
		return fmt.Errorf("succeeded, and not %v", code)
	}
	if got := status.Code(err); got != code {
		return fmt.Errorf("%v: %w, not %v", got, err, code)
	}
	return nil
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// All at once; the first error.
func together(count int, run func(int) error) error {
	results := make(chan error, count)
	for i := range count {
		go func() { results <- run(i) }()
	}
	var found error
	for range count {
		if err := <-results; err != nil && found == nil {
			found = err
		}
	}
	return found
}

func blob(size int) *message {
	value := make([]byte, size)
	for i := range value {
		value[i] = byte(i * 7)
	}
	return wrapperspb.Bytes(value)
}
