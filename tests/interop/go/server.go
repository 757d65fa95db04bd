package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// What metadata values are joined by: no text has it.
const separator = "\x1f"

type message = wrapperspb.BytesValue

func text(s string) *message { return wrapperspb.Bytes([]byte(s)) }

// The service. What the methods do is said in peer.proto.
type peer struct {
	deadlines, cancels atomic.Int64
	mu                 sync.Mutex
	turns              map[int]chan struct{}
	listener           *listener
}

func newPeer(l *listener) *peer { return &peer{turns: map[int]chan struct{}{}, listener: l} }

func (p *peer) register(server *ttrpc.Server) {
	server.RegisterService(service, &ttrpc.ServiceDesc{
		Methods: map[string]ttrpc.Method{
			"Echo":     unary(func(_ context.Context, m *message) (*message, error) { return m, nil }),
			"Fail":     unary(fail),
			"Meta":     unary(meta),
			"TimeLeft": unary(timeLeft),
			"Give":     unary(give),
			"Nap":      unary(nap),
			"Wait":     unary(p.wait),
			"Waits":    unary(p.waits),
			"Turn":     unary(p.turn),
			"Shut":     unary(p.shut),
		},
		Streams: map[string]ttrpc.Stream{
			"Down":     {Handler: down, StreamingServer: true},
			"Last":     {Handler: last, StreamingServer: true},
			"MetaDown": {Handler: metaDown, StreamingServer: true},
			"Up":       {Handler: up, StreamingClient: true},
			"Reject":   {Handler: reject, StreamingClient: true},
			"Both":     {Handler: both, StreamingClient: true, StreamingServer: true},
			"Quit":     {Handler: quit, StreamingClient: true, StreamingServer: true},
			"Idle":     {Handler: p.idle, StreamingClient: true, StreamingServer: true},
		},
	})
}

func unary(handler func(context.Context, *message) (*message, error)) ttrpc.Method {
	return func(ctx context.Context, unmarshal func(interface{}) error) (interface{}, error) {
		request := &message{}
		if err := unmarshal(request); err != nil {
			return nil, err
		}
		// A nil *message in an interface is not nil, and Go ttrpc would encode it.
		response, err := handler(ctx, request)
		if err != nil {
			return nil, err
		}
		return response, nil
	}
}

func fail(_ context.Context, m *message) (*message, error) {
	st := &spb.Status{}
	if err := proto.Unmarshal(m.Value, st); err != nil {
		return nil, err
	}
	return nil, status.ErrorProto(st)
}

func meta(ctx context.Context, m *message) (*message, error) {
	md, _ := ttrpc.GetMetadata(ctx)
	values, found := md.Get(string(m.Value))
	if !found {
		return text("none"), nil
	}
	return text(strings.Join(values, separator)), nil
}

func timeLeft(ctx context.Context, _ *message) (*message, error) {
	deadline, found := ctx.Deadline()
	if !found {
		return text("none"), nil
	}
	return text(strconv.FormatInt(time.Until(deadline).Milliseconds(), 10)), nil
}

func give(_ context.Context, m *message) (*message, error) {
	size, err := strconv.Atoi(string(m.Value))
	if err != nil {
		return nil, err
	}
	return wrapperspb.Bytes(bytes.Repeat([]byte{'g'}, size)), nil
}

func nap(_ context.Context, m *message) (*message, error) {
	milliseconds, err := strconv.Atoi(string(m.Value))
	time.Sleep(time.Duration(milliseconds) * time.Millisecond)
	return m, err
}

func (p *peer) wait(ctx context.Context, _ *message) (*message, error) {
	<-ctx.Done()
	p.count(ctx.Err())
	return nil, ctx.Err()
}

func (p *peer) idle(ctx context.Context, stream ttrpc.StreamServer) (interface{}, error) {
	<-ctx.Done()
	p.count(ctx.Err())
	return nil, ctx.Err()
}

func (p *peer) count(err error) {
	if errors.Is(err, context.DeadlineExceeded) {
		p.deadlines.Add(1)
	} else {
		p.cancels.Add(1)
	}
}

func (p *peer) waits(context.Context, *message) (*message, error) {
	return text(fmt.Sprintf("%d deadlines, %d cancelled", p.deadlines.Load(), p.cancels.Load())), nil
}

// Every call waits for the one after it: the answers leave in the reverse order.
func (p *peer) turn(_ context.Context, m *message) (*message, error) {
	var i, n int
	if _, err := fmt.Sscanf(string(m.Value), "%d/%d", &i, &n); err != nil {
		return nil, err
	}
	if i+1 < n {
		<-p.gate(i + 1)
	}
	close(p.gate(i))
	return m, nil
}

func (p *peer) gate(i int) chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.turns[i] == nil {
		p.turns[i] = make(chan struct{})
	}
	return p.turns[i]
}

// Ends one direction of every connection.
func (p *peer) shut(_ context.Context, m *message) (*message, error) {
	if string(m.Value) == "write" {
		return m, p.listener.each((*net.UnixConn).CloseWrite)
	}
	return m, p.listener.each((*net.UnixConn).CloseRead)
}

func down(_ context.Context, stream ttrpc.StreamServer) (interface{}, error) {
	request := &message{}
	if err := stream.RecvMsg(request); err != nil {
		return nil, err
	}
	count, err := strconv.Atoi(string(request.Value))
	for i := 0; i < count && err == nil; i++ {
		err = stream.SendMsg(text(strconv.Itoa(i)))
	}
	return nil, err
}

func metaDown(ctx context.Context, stream ttrpc.StreamServer) (interface{}, error) {
	request := &message{}
	if err := stream.RecvMsg(request); err != nil {
		return nil, err
	}
	values, err := meta(ctx, request)
	if err != nil {
		return nil, err
	}
	return nil, stream.SendMsg(values)
}

// Go can put a message on the frame that ends the stream.
func last(_ context.Context, stream ttrpc.StreamServer) (interface{}, error) {
	request := &message{}
	if err := stream.RecvMsg(request); err != nil {
		return nil, err
	}
	return request, nil
}

func up(_ context.Context, stream ttrpc.StreamServer) (interface{}, error) {
	count, size := 0, 0
	for {
		m := &message{}
		if err := stream.RecvMsg(m); errors.Is(err, io.EOF) {
			return text(fmt.Sprintf("%d messages, %d bytes", count, size)), nil
		} else if err != nil {
			return nil, err
		}
		count, size = count+1, size+len(m.Value)
	}
}

func reject(context.Context, ttrpc.StreamServer) (interface{}, error) {
	return nil, status.Error(codes.FailedPrecondition, "rejected")
}

func both(_ context.Context, stream ttrpc.StreamServer) (interface{}, error) {
	for {
		m := &message{}
		if err := stream.RecvMsg(m); errors.Is(err, io.EOF) {
			return nil, nil
		} else if err != nil {
			return nil, err
		}
		if err := stream.SendMsg(m); err != nil {
			return nil, err
		}
	}
}

func quit(_ context.Context, stream ttrpc.StreamServer) (interface{}, error) {
	for _, s := range []string{"one", "two"} {
		if err := stream.SendMsg(text(s)); err != nil {
			return nil, err
		}
	}
	return nil, status.Error(codes.Aborted, "quit")
}
