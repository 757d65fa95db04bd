package main

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"runtime"

	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// The service of benchmarks/Ttrpc/Load/Protos/bench.proto.
func register(server *ttrpc.Server) {
	server.RegisterService(service, &ttrpc.ServiceDesc{
		Methods: map[string]ttrpc.Method{
			"Echo":      unary(func(m *message) *message { return m }),
			"Allocated": unary(func(*message) *message { return number(allocated()) }),
		},
		Streams: map[string]ttrpc.Stream{
			"Down": {Handler: down, StreamingServer: true},
			"Up":   {Handler: up, StreamingClient: true},
			"Both": {Handler: both, StreamingClient: true, StreamingServer: true},
		},
	})
}

func unary(handler func(*message) *message) ttrpc.Method {
	return func(_ context.Context, unmarshal func(interface{}) error) (interface{}, error) {
		request := &message{}
		if err := unmarshal(request); err != nil {
			return nil, err
		}
		return handler(request), nil
	}
}

func allocated() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.TotalAlloc
}

func number(n uint64) *message { return wrapperspb.Bytes(binary.LittleEndian.AppendUint64(nil, n)) }

func sized(size int) *message {
	value := make([]byte, size)
	for i := range value {
		value[i] = byte(i * 7)
	}
	return wrapperspb.Bytes(value)
}

func order(count, size int) *message {
	return wrapperspb.Bytes(binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, uint32(count)), uint32(size)))
}

func down(_ context.Context, stream ttrpc.StreamServer) (interface{}, error) {
	request := &message{}
	if err := stream.RecvMsg(request); err != nil {
		return nil, err
	}
	count, size := binary.LittleEndian.Uint32(request.Value), binary.LittleEndian.Uint32(request.Value[4:])
	m := sized(int(size))
	for range count {
		if err := stream.SendMsg(m); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func up(_ context.Context, stream ttrpc.StreamServer) (interface{}, error) {
	for {
		if err := stream.RecvMsg(&message{}); errors.Is(err, io.EOF) {
			return &message{}, nil
		} else if err != nil {
			return nil, err
		}
	}
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
