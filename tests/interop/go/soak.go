package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/containerd/ttrpc"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

const callersPerConnection = 8

// How the calls of a soak have ended.
type tally struct {
	mu       sync.Mutex
	calls    int
	byCode   map[codes.Code]int
	mistakes []string
}

func (t *tally) count(code codes.Code) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calls++
	t.byCode[code]++
}

func (t *tally) mistake(format string, arguments ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mistakes = append(t.mistakes, fmt.Sprintf(format, arguments...))
}

func (t *tally) String() string {
	var parts []string
	for code, count := range t.byCode {
		parts = append(parts, fmt.Sprintf("%v %d", code, count))
	}
	sort.Strings(parts)
	return fmt.Sprintf("%d calls (%s), %d mistakes", t.calls, strings.Join(parts, ", "), len(t.mistakes))
}

// Callers on connections that end at random, in order or not, for so many seconds.
func soak(socket string, arguments []string) error {
	var numbers [3]int
	for i := range numbers {
		number, err := strconv.Atoi(arguments[i])
		if err != nil {
			return err
		}
		numbers[i] = number
	}
	end := time.Now().Add(time.Duration(numbers[0]) * time.Second)
	t := &tally{byCode: map[codes.Code]int{}}
	var lanes sync.WaitGroup
	for range max(1, numbers[1]/callersPerConnection) {
		lanes.Add(1)
		go func() {
			defer lanes.Done()
			for time.Now().Before(end) {
				lane(socket, t, end, numbers[2])
			}
		}()
	}
	lanes.Wait()
	fmt.Println(t)
	for i, mistake := range t.mistakes {
		if i < 20 {
			fmt.Println("     ", mistake)
		}
	}
	if len(t.mistakes) > 0 {
		os.Exit(1)
	}
	return nil
}

func lane(socket string, t *tally, end time.Time, pause int) {
	c, err := dial(socket)
	if err != nil {
		t.mistake("dial: %v", err)
		time.Sleep(50 * time.Millisecond)
		return
	}
	defer c.Close()
	life := min(time.Until(end), time.Duration(200+rand.IntN(5800))*time.Millisecond)
	until, done := time.Now().Add(life), make(chan struct{}, callersPerConnection)
	for range callersPerConnection {
		go func() {
			defer func() { done <- struct{}{} }()
			for time.Now().Before(until) && step(c, t) {
				time.Sleep(time.Duration(rand.IntN(pause*1000+1)) * time.Microsecond)
			}
		}()
	}
	// In order, when all callers have ended; or with calls under way.
	if rand.IntN(2) == 0 {
		time.AfterFunc(life, func() { c.Close() })
	}
	for range callersPerConnection {
		select {
		case <-done:
		case <-time.After(life + 30*time.Second):
			t.mistake("callers hang")
			return
		}
	}
}

// One call; false when the connection is gone.
func step(c *client, t *tally) bool {
	name, want, run := choose()
	err := run(c)
	code := status.Code(err)
	if err != nil && !errors.Is(err, errWrong) && (errors.Is(err, ttrpc.ErrClosed) || code == codes.Unknown && want != codes.Unknown) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if c.UserOnCloseWait(ctx) != nil {
			t.mistake("%s: %v, and the connection lives", name, err)
		}
		t.count(codes.Unavailable)
		return false
	}
	t.count(code)
	if code != want {
		t.mistake("%s: %v %v, not %v", name, code, err, want)
	}
	return true
}

var errWrong = errors.New("wrong")

func wrong(format string, arguments ...any) error {
	return fmt.Errorf("%w: %s", errWrong, fmt.Sprintf(format, arguments...))
}

func choose() (string, codes.Code, func(*client) error) {
	switch n := rand.IntN(1000); {
	case n < 400:
		return "Echo", codes.OK, soakEcho
	case n < 480:
		code := codes.Code(1 + rand.IntN(16))
		return "Fail", code, func(c *client) error { return soakFail(c, code) }
	case n < 530:
		return "Meta", codes.OK, soakMeta
	case n < 640:
		return "Down", codes.OK, soakDown
	case n < 750:
		return "Up", codes.OK, soakUp
	case n < 860:
		return "Both", codes.OK, soakBoth
	case n < 890:
		return "Quit", codes.Aborted, soakQuit
	case n < 930:
		return "Wait, deadline", codes.DeadlineExceeded, soakDeadline
	case n < 970:
		return "Wait, cancelled", codes.Canceled, soakCancel
	case n < 985:
		return "Echo, too large", codes.ResourceExhausted, func(c *client) error {
			_, err := c.ask(context.Background(), "Echo", blob(limit))
			return err
		}
	default:
		return "Give, too large", codes.ResourceExhausted, func(c *client) error {
			_, err := c.ask(context.Background(), "Give", text(strconv.Itoa(limit)))
			return err
		}
	}
}

func soakEcho(c *client) error {
	size := rand.IntN(1000)
	if rand.IntN(50) == 0 {
		size = rand.IntN(256 << 10)
	}
	request := blob(size)
	got, err := c.ask(context.Background(), "Echo", request)
	if err == nil && !bytes.Equal(got, request.Value) {
		return wrong("another message came back")
	}
	return err
}

func soakFail(c *client, code codes.Code) error {
	want := &spb.Status{Code: int32(code), Message: "méssage " + strconv.Itoa(rand.Int())}
	encoded, err := proto.Marshal(want)
	if err != nil {
		return err
	}
	_, err = c.ask(context.Background(), "Fail", &message{Value: encoded})
	if status.Code(err) == code && !errors.Is(err, ttrpc.ErrClosed) && code != codes.Unknown && !proto.Equal(status.Convert(err).Proto(), want) {
		return wrong("%v came back", err)
	}
	return err
}

func soakMeta(c *client) error {
	value := "ü " + strconv.Itoa(rand.Int())
	md := ttrpc.MD{}
	md.Set("kuasar-key", value, "")
	got, err := c.ask(ttrpc.WithMetadata(context.Background(), md), "Meta", text("kuasar-key"))
	if err == nil && string(got) != value+separator {
		return wrong("the metadata were %q", got)
	}
	return err
}

// What receive and receiveEnd say of another message is no error of the connection.
func checked(err error) error {
	if err == nil || errors.Is(err, ttrpc.ErrClosed) || status.Code(err) != codes.Unknown {
		return err
	}
	if strings.HasPrefix(err.Error(), "received ") {
		return wrong("%v", err)
	}
	return err
}

func soakDown(c *client) error {
	count := rand.IntN(50)
	stream, err := c.open("Down", true, text(strconv.Itoa(count)))
	for i := 0; i < count && err == nil; i++ {
		err = checked(receive(stream, strconv.Itoa(i)))
	}
	if err == nil {
		err = soakEnd(stream)
	}
	return err
}

func soakEnd(stream ttrpc.ClientStream) error {
	m := &message{}
	switch err := stream.RecvMsg(m); {
	case err == nil:
		return wrong("one message too many")
	case errors.Is(err, io.EOF):
		return nil
	default:
		return err
	}
}

func soakUp(c *client) error {
	count, size := rand.IntN(50), 0
	stream, err := c.open("Up", false, nil)
	for i := 0; i < count && err == nil; i++ {
		m := blob(rand.IntN(500))
		size += len(m.Value)
		err = stream.SendMsg(m)
	}
	if err == nil {
		err = stream.CloseSend()
	}
	if err == nil {
		err = checked(receive(stream, fmt.Sprintf("%d messages, %d bytes", count, size)))
	}
	return err
}

func soakBoth(c *client) error {
	stream, err := c.open("Both", true, nil)
	for i := rand.IntN(30); i > 0 && err == nil; i-- {
		m := blob(rand.IntN(500))
		if err = stream.SendMsg(m); err == nil {
			err = checked(receive(stream, string(m.Value)))
		}
	}
	if err == nil {
		err = stream.CloseSend()
	}
	if err == nil {
		err = soakEnd(stream)
	}
	return err
}

func soakQuit(c *client) error {
	stream, err := c.open("Quit", true, nil)
	if err != nil {
		return err
	}
	err = first(checked(receive(stream, "one")), checked(receive(stream, "two")))
	if err != nil {
		return err
	}
	return stream.RecvMsg(&message{})
}

// Go's own timer and our answer race, and both say the same.
func soakDeadline(c *client) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+rand.IntN(50))*time.Millisecond)
	defer cancel()
	_, err := c.ask(ctx, "Wait", text(""))
	if errors.Is(err, context.DeadlineExceeded) {
		return status.Error(codes.DeadlineExceeded, "")
	}
	return err
}

func soakCancel(c *client) error {
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(time.Duration(rand.IntN(20))*time.Millisecond, cancel)
	defer cancel()
	_, err := c.ask(ctx, "Wait", text(""))
	if errors.Is(err, context.Canceled) {
		return status.Error(codes.Canceled, "")
	}
	return err
}
