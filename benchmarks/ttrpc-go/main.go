// Go ttrpc as a peer to measure beside ours. Run by the runner of benchmarks/ttrpc.sh, built by eng/go-ttrpc.sh.
//
//	ttrpc-go serve SOCKET            prints "ready", ends with its stdin
//	ttrpc-go call SOCKET WORKLOAD    prints a line of JSON; the workload: KIND SIZE CALLERS SERVER_PID WARM_MS WINDOW_MS
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const service = "kuasar.bench.Bench"

type message = wrapperspb.BytesValue

func main() {
	err := errors.New("usage: ttrpc-go serve SOCKET | ttrpc-go call SOCKET WORKLOAD")
	switch {
	case len(os.Args) == 3 && os.Args[1] == "serve":
		err = serve(os.Args[2])
	case len(os.Args) == 9 && os.Args[1] == "call":
		err = call(os.Args[2], os.Args[3:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "ttrpc-go:", err)
		os.Exit(1)
	}
}

func serve(socket string) error {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	server, err := ttrpc.NewServer()
	if err != nil {
		return err
	}
	register(server)
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(context.Background(), listener) }()
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, os.Stdin)
		ended <- err
	}()
	fmt.Println("ready")
	select {
	case err := <-failed:
		return err
	case err := <-ended:
		return err
	}
}

func call(socket string, words []string) error {
	w, err := parse(words)
	if err != nil {
		return err
	}
	connection, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	client := ttrpc.NewClient(connection)
	defer client.Close()
	return w.measure(&traffic{client, w, sized(w.size)})
}
