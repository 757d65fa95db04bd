package main

import (
	"context"
	"fmt"
	"net"

	"github.com/containerd/nri/pkg/net/multiplex"
	"github.com/containerd/ttrpc"
)

// The runtime's end of NRI, with the real multiplexer: the plugin connects, both serve and both call.
func nri(socket string, names []string) error {
	bound, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	trunk, err := bound.Accept()
	if err != nil {
		return err
	}
	mux := multiplex.Multiplex(trunk, multiplex.WithBlockedRead())
	served, err := mux.Listen(multiplex.RuntimeServiceConn)
	if err != nil {
		return err
	}
	called, err := mux.Open(multiplex.PluginServiceConn)
	if err != nil {
		return err
	}
	server, err := ttrpc.NewServer()
	if err != nil {
		return err
	}
	newPeer(&listener{}).register(server)
	go server.Serve(context.Background(), served)
	gone := make(chan struct{})
	c := &client{ttrpc.NewClient(called, ttrpc.WithOnClose(func() { close(gone) })), socket}
	mux.Unblock()
	for _, name := range names {
		if err := within(cases[name], c); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		fmt.Println("ok", name)
	}
	// Until the plugin goes.
	<-gone
	return nil
}
