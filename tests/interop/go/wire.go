package main

import (
	"net"
	"os"
	"sync"
)

// Bytes go and come one by one at first, then in odd pieces: bytewise to the end, 4 MiB would take their time.
type bytewise struct {
	net.Conn
	read, written int
}

const (
	bytewiseUntil = 4096
	piece         = 8191
)

func (c *bytewise) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p[:min(len(p), size(c.read))])
	c.read += n
	return n, err
}

func (c *bytewise) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n, err := c.Conn.Write(p[done:min(len(p), done+size(c.written))])
		done, c.written = done+n, c.written+n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

func size(done int) int {
	if done < bytewiseUntil {
		return 1
	}
	return piece
}

func wire(connection net.Conn) net.Conn {
	if os.Getenv("KUASAR_GO_BYTEWISE") != "" {
		return &bytewise{Conn: connection}
	}
	return connection
}

// Remembers what it accepts, for methods that end one direction of it.
type listener struct {
	net.Listener
	mu       sync.Mutex
	accepted []*net.UnixConn
}

func (l *listener) Accept() (net.Conn, error) {
	connection, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accepted = append(l.accepted, connection.(*net.UnixConn))
	return wire(connection), nil
}

func (l *listener) each(do func(*net.UnixConn) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, connection := range l.accepted {
		if err := do(connection); err != nil {
			return err
		}
	}
	return nil
}
