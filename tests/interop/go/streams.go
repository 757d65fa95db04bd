package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
)

func streamDown(c *client) error {
	for _, count := range []int{0, 1, 1000} {
		stream, err := c.open("Down", true, text(strconv.Itoa(count)))
		for i := 0; i < count && err == nil; i++ {
			err = receive(stream, strconv.Itoa(i))
		}
		if err != nil {
			return err
		}
		if err := receiveEnd(stream); err != nil {
			return err
		}
	}
	for _, word := range []string{"", "last"} {
		stream, err := c.open("Last", true, text(word))
		if err != nil {
			return err
		}
		if err := first(receive(stream, word), receiveEnd(stream)); err != nil {
			return err
		}
	}
	return c.alive()
}

func streamUp(c *client) error {
	for _, count := range []int{0, 1, 1000} {
		stream, err := c.open("Up", false, nil)
		// Every other one is empty, and empty is not the end.
		for i := 0; i < count && err == nil; i++ {
			err = stream.SendMsg(blob(i % 2 * 10))
		}
		if err == nil {
			err = stream.CloseSend()
		}
		if err != nil {
			return err
		}
		if err := receive(stream, fmt.Sprintf("%d messages, %d bytes", count, count/2*10)); err != nil {
			return err
		}
	}
	return c.alive()
}

func streamBoth(c *client) error {
	stream, err := c.open("Both", true, nil)
	for i := 0; i < 100 && err == nil; i++ {
		word := ""
		if i%3 != 0 {
			word = strconv.Itoa(i)
		}
		err = first(stream.SendMsg(text(word)), receive(stream, word))
	}
	if err != nil {
		return err
	}
	return first(stream.CloseSend(), receiveEnd(stream))
}

func streamErrors(c *client) error {
	stream, err := c.open("Quit", true, nil)
	if err != nil {
		return err
	}
	// What was sent before the error arrives before it.
	err = first(receive(stream, "one"), receive(stream, "two"), receiveError(stream, codes.Aborted))
	if err != nil {
		return err
	}
	bad, err := c.open("Down", true, text("no number"))
	if err != nil {
		return err
	}
	return first(receiveError(bad, codes.Unknown), c.alive())
}

func streamBoundary(c *client) error {
	stream, err := c.open("Both", true, nil)
	if err != nil {
		return err
	}
	// A message is bare on a stream: tag and length of the bytes.
	largest := blob(limit - 5)
	got := &message{}
	if err := first(stream.SendMsg(largest), stream.RecvMsg(got)); err != nil {
		return err
	}
	if !bytes.Equal(got.Value, largest.Value) {
		return errors.New("the answer is another")
	}
	if err := failed(stream.SendMsg(blob(limit-4)), codes.ResourceExhausted); err != nil {
		return err
	}
	// That one was not sent, and the stream is whole.
	return first(stream.SendMsg(text("a")), receive(stream, "a"), stream.CloseSend(), receiveEnd(stream), c.alive())
}

func streamUnknown(c *client) error {
	stream, err := c.open("NoSuchStream", true, nil)
	if err != nil {
		return err
	}
	return first(receiveError(stream, codes.Unimplemented), c.alive())
}

// The handler has failed long before the client has sent all.
func streamRejected(c *client) error {
	stream, err := c.open("Reject", false, nil)
	for i := 0; i < 500 && err == nil; i++ {
		err = stream.SendMsg(blob(1000))
	}
	if err != nil {
		return err
	}
	return first(stream.CloseSend(), receiveError(stream, codes.FailedPrecondition), c.alive())
}

// Go's client holds one unread frame a stream and then reads no more of the whole connection: whoever answers a stream
// twice, and be it for data that came after its end, blocks every other call.
func streamAbandoned(c *client) error {
	for _, method := range []string{"NoSuchStream", "Reject"} {
		stream, err := c.open(method, false, nil)
		if err != nil {
			return err
		}
		for range 5 {
			time.Sleep(20 * time.Millisecond)
			if err := stream.SendMsg(text("late")); err != nil {
				return err
			}
		}
		if err := stream.CloseSend(); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		var response message
		if err := c.Call(ctx, service, "Echo", text("a"), &response); err != nil {
			return fmt.Errorf("another call, after %s was abandoned: %w", method, err)
		}
	}
	return nil
}

// More than fits anywhere on the way, read while it is sent; no more than our server's 8 MiB of a stream is on its way at
// once, as past that the stream fails.
func streamAhead(c *client) error {
	const count, size, window = 500, 64 << 10, 100
	stream, err := c.open("Both", true, nil)
	if err != nil {
		return err
	}
	sent, room := make(chan error, 1), make(chan struct{}, window)
	go func() {
		var err error
		for i := 0; i < count && err == nil; i++ {
			room <- struct{}{}
			err = stream.SendMsg(blob(size))
		}
		sent <- first(err, stream.CloseSend())
	}()
	for range count {
		if err := receive(stream, string(blob(size).Value)); err != nil {
			return err
		}
		<-room
	}
	return first(<-sent, receiveEnd(stream), c.alive())
}

// The handler reads nothing, and the client sends and sends: the stream fails, and nothing else.
func streamFlood(c *client) error {
	stream, err := c.open("Idle", true, nil)
	for i := 0; i < 150_000 && err == nil; i++ {
		err = stream.SendMsg(blob(10))
	}
	if err != nil {
		return err
	}
	return first(c.alive(), receiveError(stream, codes.ResourceExhausted), c.alive())
}
