package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/containerd/ttrpc"
)

// The client's part, as benchmarks/Ttrpc/Load/StubTraffic.cs has it for the peers in C#.
type traffic struct {
	*ttrpc.Client
	workload
	message *message
}

type tally struct {
	operations int64
	latencies  histogram
}

func (t *traffic) run(duration time.Duration) (*tally, error) {
	end := time.Now().Add(duration)
	switch t.kind {
	// Of the two stubs of .NET, Go has the one that blocks.
	case "unary", "blocking":
		return t.callers(end)
	case "down":
		return streams(end, t.down)
	case "up":
		return streams(end, t.up)
	case "both":
		return streams(end, t.both)
	case "pingpong":
		return t.pingPong(end)
	}
	return nil, fmt.Errorf("unknown kind %q", t.kind)
}

func (t *traffic) allocatedByServer() (uint64, error) {
	answer := &message{}
	if err := t.Call(context.Background(), service, "Allocated", &message{}, answer); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(answer.Value), nil
}

func (t *traffic) callers(end time.Time) (*tally, error) {
	type result struct {
		latencies histogram
		err       error
	}
	results := make(chan *result, t.count)
	for range t.count {
		go func() {
			r := &result{}
			r.err = t.calls(end, &r.latencies)
			results <- r
		}()
	}
	all := &tally{}
	var err error
	for range t.count {
		r := <-results
		all.latencies.addAll(&r.latencies)
		err = errors.Join(err, r.err)
	}
	all.operations = all.latencies.count
	return all, err
}

func (t *traffic) calls(end time.Time, latencies *histogram) error {
	ctx := context.Background()
	for now := time.Now(); now.Before(end); {
		answer := &message{}
		if err := t.Call(ctx, service, "Echo", t.message, answer); err != nil {
			return err
		}
		if err := t.check(answer); err != nil {
			return err
		}
		then := time.Now()
		latencies.add(then.Sub(now))
		now = then
	}
	return nil
}

func streams(end time.Time, stream func() (int, error)) (*tally, error) {
	all := &tally{}
	for time.Now().Before(end) {
		count, err := stream()
		if err != nil {
			return nil, err
		}
		all.operations += int64(count)
	}
	return all, nil
}

// As long as those of the peers in C#.
func (t *traffic) length() int { return max(1, min((4<<20)/(t.size+128), 20_000)) }

func (t *traffic) open(method string, client, server bool, request interface{}) (ttrpc.ClientStream, error) {
	desc := &ttrpc.StreamDesc{StreamingClient: client, StreamingServer: server}
	return t.NewStream(context.Background(), desc, service, method, request)
}

func (t *traffic) down() (int, error) {
	stream, err := t.open("Down", false, true, order(t.length(), t.size))
	if err != nil {
		return 0, err
	}
	return t.receive(stream)
}

func (t *traffic) up() (int, error) {
	stream, err := t.open("Up", true, false, nil)
	if err != nil {
		return 0, err
	}
	if err := t.send(stream); err != nil {
		return 0, err
	}
	return t.length(), stream.RecvMsg(&message{})
}

func (t *traffic) both() (int, error) {
	stream, err := t.open("Both", true, true, nil)
	if err != nil {
		return 0, err
	}
	sent := make(chan error, 1)
	go func() { sent <- t.send(stream) }()
	count, err := t.receive(stream)
	return count, errors.Join(err, <-sent)
}

func (t *traffic) send(stream ttrpc.ClientStream) error {
	for range t.length() {
		if err := stream.SendMsg(t.message); err != nil {
			return err
		}
	}
	return stream.CloseSend()
}

func (t *traffic) receive(stream ttrpc.ClientStream) (int, error) {
	for count := 0; ; count++ {
		m := &message{}
		if err := stream.RecvMsg(m); errors.Is(err, io.EOF) {
			if count != t.length() {
				return 0, fmt.Errorf("%d messages, not %d", count, t.length())
			}
			return count, nil
		} else if err != nil {
			return 0, err
		}
		if err := t.check(m); err != nil {
			return 0, err
		}
	}
}

func (t *traffic) pingPong(end time.Time) (*tally, error) {
	stream, err := t.open("Both", true, true, nil)
	if err != nil {
		return nil, err
	}
	all := &tally{}
	for now := time.Now(); now.Before(end); {
		m := &message{}
		if err := stream.SendMsg(t.message); err != nil {
			return nil, err
		}
		if err := stream.RecvMsg(m); err != nil {
			return nil, err
		}
		if err := t.check(m); err != nil {
			return nil, err
		}
		then := time.Now()
		all.latencies.add(then.Sub(now))
		now = then
	}
	all.operations = all.latencies.count
	if err := stream.CloseSend(); err != nil {
		return nil, err
	}
	if err := stream.RecvMsg(&message{}); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%v, not the end of the stream", err)
	}
	return all, nil
}

func (t *traffic) check(answer *message) error {
	if len(answer.Value) != t.size {
		return fmt.Errorf("%d bytes, not %d", len(answer.Value), t.size)
	}
	return nil
}
