package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/ttrpc"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// ttrpc's limit on the data of one frame.
const limit = 4 << 20

var cases = map[string]func(*client) error{
	"unary":             func(c *client) error { return c.expect("Echo", "hällo", "hällo") },
	"empty":             func(c *client) error { return first(c.expect("Echo", "", ""), c.alive()) },
	"codes":             statusCodes,
	"unknown":           unknown,
	"metadata":          metadata,
	"trace":             trace,
	"deadline":          deadline,
	"expired":           expired,
	"cancel":            cancel,
	"boundary":          boundary,
	"oversize-request":  oversizeRequest,
	"oversize-response": oversizeResponse,
	"concurrent":        concurrent,
	"connections":       connections,
	"hold":              hold,
	"drain":             drain,
	"down":              streamDown,
	"up":                streamUp,
	"both":              streamBoth,
	"stream-errors":     streamErrors,
	"stream-boundary":   streamBoundary,
	"stream-unknown":    streamUnknown,
	"stream-rejected":   streamRejected,
	"stream-abandoned":  streamAbandoned,
	"stream-ahead":      streamAhead,
	"flood":             flood,
	"half-open":         halfOpen,
	"stream-flood":      streamFlood,
	"streams":           func(c *client) error { return together(50, func(int) error { return streamBoth(c) }) },
}

// 17 is none of gRPC's, and must not become OK.
func statusCodes(c *client) error {
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		detail, err := anypb.New(wrapperspb.String(code.String()))
		if err != nil {
			return err
		}
		want := &spb.Status{Code: int32(code), Message: "méssage of " + code.String(), Details: []*anypb.Any{detail, detail}}
		encoded, err := proto.Marshal(want)
		if err != nil {
			return err
		}
		_, err = c.ask(context.Background(), "Fail", wrapperspb.Bytes(encoded))
		if got := status.Convert(err).Proto(); !proto.Equal(got, want) {
			return fmt.Errorf("%v, not %v", got, want)
		}
	}
	return c.alive()
}

func unknown(c *client) error {
	ctx := context.Background()
	service := c.Call(ctx, "no.such.Service", "Echo", text("a"), &message{})
	_, method := c.ask(ctx, "NoSuchMethod", text("a"))
	return first(failed(service, codes.Unimplemented), failed(method, codes.Unimplemented), c.alive())
}

func metadata(c *client) error {
	values := []string{"one", "", "drei: ü 世界", "with\ttab, comma", strings.Repeat("long", 5000)}
	md := ttrpc.MD{}
	md.Set("Kuasar-Key", values...)
	md.Set("containerd-namespace-ttrpc", "k8s.io")
	// gRPC has no such key, and Go sends it all the same.
	md.Set("no grpc key/", "x")
	ctx := ttrpc.WithMetadata(context.Background(), md)
	got, err := c.ask(ctx, "Meta", text("kuasar-key"))
	if err == nil && string(got) != strings.Join(values, separator) {
		err = fmt.Errorf("got %.200q", got)
	}
	namespace, err2 := c.ask(ctx, "Meta", text("containerd-namespace-ttrpc"))
	if err2 == nil && string(namespace) != "k8s.io" {
		err2 = fmt.Errorf("got %q", namespace)
	}
	return first(err, err2, c.expect("Meta", "kuasar-key", "none"))
}

// What otelttrpc puts into a request: the keys and values of OpenTelemetry's propagators. The test looks at our spans.
func trace(c *client) error {
	md := ttrpc.MD{}
	md.Set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	md.Set("tracestate", "vendor=1,other=2")
	md.Set("baggage", "tenant=a%20b")
	_, err := c.ask(ttrpc.WithMetadata(context.Background(), md), "Echo", text("traced"))
	return err
}

func deadline(c *client) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	got, err := c.ask(ctx, "TimeLeft", text(""))
	if err != nil {
		return err
	}
	if left, err := strconv.Atoi(string(got)); err != nil || left <= 30_000 || left > 60_000 {
		return fmt.Errorf("the server has %q left of a minute", got)
	}
	if err := c.expect("TimeLeft", "", "none"); err != nil {
		return err
	}
	short, cancel2 := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel2()
	_, err = c.ask(short, "Wait", text(""))
	// Whether Go's own timer or our answer comes first is a race.
	if !errors.Is(err, context.DeadlineExceeded) && status.Code(err) != codes.DeadlineExceeded {
		return fmt.Errorf("%v, not a deadline", err)
	}
	return waits(c, "1 deadlines, 0 cancelled")
}

// Go sends what is left, and that is less than nothing here.
func expired(c *client) error {
	ctx, cancel := context.WithDeadline(context.Background(), time.Now().Add(-time.Minute))
	defer cancel()
	_, err := c.ask(ctx, "Echo", text("a"))
	if !errors.Is(err, context.DeadlineExceeded) && status.Code(err) != codes.DeadlineExceeded {
		return fmt.Errorf("%v, not a deadline", err)
	}
	return c.alive()
}

// Nothing of it is on the wire: the answer comes late and goes nowhere.
func cancel(c *client) error {
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	_, err := c.ask(ctx, "Nap", text("200"))
	if !errors.Is(err, context.Canceled) {
		return fmt.Errorf("%v, not cancelled", err)
	}
	return first(c.expect("Nap", "300", "300"), c.alive())
}

func waits(c *client, want string) error {
	var err error
	for range 100 {
		if err = c.expect("Waits", "", want); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return err
}

// The largest payload whose request fills a frame to the last byte.
func largest(method string) int {
	size := limit - 64
	for proto.Size(&ttrpc.Request{Service: service, Method: method, Payload: make([]byte, proto.Size(blob(size+1)))}) <= limit {
		size++
	}
	return size
}

func boundary(c *client) error {
	request := blob(largest("Echo"))
	got, err := c.ask(context.Background(), "Echo", request)
	if err == nil && !bytes.Equal(got, request.Value) {
		err = errors.New("the answer is another")
	}
	// Tag and length of the payload, and of the bytes in it.
	size := limit - 10
	given, err2 := c.ask(context.Background(), "Give", text(strconv.Itoa(size)))
	if err2 == nil && len(given) != size {
		err2 = fmt.Errorf("given %d bytes, not %d", len(given), size)
	}
	return first(err, err2, c.alive())
}

// Go refuses its own; the ids that it wastes on them are a gap for the server.
func oversizeRequest(c *client) error {
	for range 3 {
		_, err := c.ask(context.Background(), "Echo", blob(largest("Echo")+1))
		if err := failed(err, codes.ResourceExhausted); err != nil {
			return err
		}
	}
	return c.alive()
}

func oversizeResponse(c *client) error {
	for _, size := range []int{limit - 9, limit, 2 * limit} {
		_, err := c.ask(context.Background(), "Give", text(strconv.Itoa(size)))
		if err := failed(err, codes.ResourceExhausted); err != nil {
			return err
		}
	}
	return c.alive()
}

func concurrent(c *client) error {
	const calls = 512
	return together(calls, func(i int) error {
		turn := fmt.Sprintf("%d/%d", i, calls)
		return c.expect("Turn", turn, turn)
	})
}

func connections(c *client) error {
	const count = 200
	var open sync.WaitGroup
	open.Add(count)
	return together(count, func(i int) error {
		other, err := dial(c.socket)
		open.Done()
		if err != nil {
			return err
		}
		defer other.Close()
		open.Wait() // all of them at once
		for call := range 10 {
			word := fmt.Sprintf("%d of connection %d", call, i)
			if err := other.expect("Echo", word, word); err != nil {
				return err
			}
		}
		return nil
	})
}

// More at once than our server lets run on one connection: each is answered, one way or the other.
func flood(c *client) error {
	var served, refused atomic.Int64
	err := together(20_000, func(i int) error {
		word := strconv.Itoa(i)
		got, err := c.ask(context.Background(), "Echo", text(word))
		switch {
		case err == nil && string(got) == word:
			served.Add(1)
		case status.Code(err) == codes.ResourceExhausted:
			refused.Add(1)
		default:
			return fmt.Errorf("%q and %v", got, err)
		}
		return nil
	})
	if err == nil && served.Load() == 0 {
		err = errors.New("all were refused")
	}
	return first(err, c.alive())
}

// A client that sends no more is gone for its server, calls in flight or not.
func halfOpen(c *client) error {
	connection, err := net.Dial("unix", c.socket)
	if err != nil {
		return err
	}
	other := &client{ttrpc.NewClient(connection), c.socket}
	defer other.Close()
	waiting := make(chan error, 1)
	go func() {
		_, err := other.ask(context.Background(), "Wait", text(""))
		waiting <- err
	}()
	if err := other.alive(); err != nil {
		return err
	}
	if err := connection.(*net.UnixConn).CloseWrite(); err != nil {
		return err
	}
	if err := <-waiting; !errors.Is(err, ttrpc.ErrClosed) {
		return fmt.Errorf("%v, not closed", err)
	}
	return c.alive()
}

// For a test that kills us, or the server.
func hold(c *client) error {
	_, err := c.ask(context.Background(), "Wait", text(""))
	if errors.Is(err, ttrpc.ErrClosed) {
		return nil
	}
	return fmt.Errorf("%v, not closed", err)
}

// For a server that is stopped meanwhile: what it has begun is answered.
func drain(c *client) error {
	err := together(20, func(int) error { return c.expect("Nap", "700", "700") })
	if err != nil {
		return err
	}
	if err := c.alive(); err == nil {
		return errors.New("the server has not stopped")
	}
	return nil
}
