// The real Go ttrpc as a peer of ours. Run by tests/Kuasar.Protocol.Interop.Tests, built by eng/go-ttrpc.sh.
//
//	peer serve SOCKET        serves kuasar.interop.Peer (see peer.proto there) until SIGTERM, then drains for 5 s
//	peer call SOCKET CASE…   runs cases against our server; one line each, exit code 1 when one fails
//	peer nri SOCKET CASE…    both over NRI's multiplexer, as the runtime does: serves and runs the cases until the plugin goes
//	peer soak SOCKET SECONDS CALLERS PAUSE   calls our server (pauses up to PAUSE ms); exit code 1 when a result is wrong
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/containerd/log"
	"github.com/containerd/ttrpc"
)

const service = "kuasar.interop.Peer"

// KUASAR_GO_QUIET: nothing is logged. KUASAR_GO_BYTEWISE: the socket gives and takes bytes one by one.
func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: peer serve SOCKET | peer call SOCKET CASE… | peer nri SOCKET CASE… | peer soak SOCKET SECONDS CALLERS PAUSE")
		os.Exit(2)
	}
	// A line for each answer that comes late, say, is too much for a soak.
	if os.Getenv("KUASAR_GO_QUIET") != "" {
		_ = log.SetLevel("fatal")
	}
	var err error
	switch os.Args[1] {
	case "serve":
		err = serve(os.Args[2])
	case "call":
		err = call(os.Args[2], os.Args[3:])
	case "nri":
		err = nri(os.Args[2], os.Args[3:])
	case "soak":
		if len(os.Args) != 6 {
			err = errors.New("soak SOCKET SECONDS CALLERS PAUSE")
			break
		}
		err = soak(os.Args[2], os.Args[3:])
	default:
		err = fmt.Errorf("unknown command %q", os.Args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}

func serve(socket string) error {
	bound, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	listener := &listener{Listener: bound}
	server, err := ttrpc.NewServer()
	if err != nil {
		return err
	}
	newPeer(listener).register(server)
	stopped := make(chan error, 1)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	go func() {
		<-signals
		fmt.Println("stopping")
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		stopped <- server.Shutdown(ctx)
	}()
	fmt.Println("ready")
	if err := server.Serve(context.Background(), listener); !errors.Is(err, ttrpc.ErrServerClosed) {
		return err
	}
	return <-stopped
}

func call(socket string, names []string) error {
	for _, name := range names {
		run, found := cases[name]
		if !found {
			return fmt.Errorf("unknown case %q", name)
		}
		c, err := dial(socket)
		if err != nil {
			return err
		}
		err = within(run, c)
		c.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		fmt.Println("ok", name)
	}
	return nil
}

// A case that hangs is a failure that says where: the client has no time limit of its own.
func within(run func(*client) error, c *client) error {
	done := make(chan error, 1)
	go func() { done <- run(c) }()
	select {
	case err := <-done:
		return err
	case <-time.After(20 * time.Second):
		return errors.New("hangs")
	}
}
