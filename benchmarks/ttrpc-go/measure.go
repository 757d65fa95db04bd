package main

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"os"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// What a client does; see benchmarks/Ttrpc/Load/Workload.cs.
type workload struct {
	kind                string
	size, count, server int
	warm, window        time.Duration
}

func parse(words []string) (workload, error) {
	numbers := make([]int, len(words))
	var failed error
	for i, word := range words[1:] {
		n, err := strconv.Atoi(word)
		failed = errors.Join(failed, err)
		numbers[i] = n
	}
	return workload{words[0], numbers[0], numbers[1], numbers[2],
		time.Duration(numbers[3]) * time.Millisecond, time.Duration(numbers[4]) * time.Millisecond}, failed
}

// As benchmarks/Ttrpc/Load/Measurement.cs.
const slices = 5

// Lets the traffic run to warm up, and again, in slices, to be measured. Prints one line of JSON.
func (w workload) measure(t *traffic) error {
	if _, err := t.run(w.warm); err != nil {
		return err
	}
	before, err := w.take(t)
	if err != nil {
		return err
	}
	all := &tally{}
	var rates [slices]float64
	for i := range rates {
		started := time.Now()
		slice, err := t.run(w.window / slices)
		if err != nil {
			return err
		}
		rates[i] = float64(slice.operations) / time.Since(started).Seconds()
		all.latencies.addAll(&slice.latencies)
		all.operations += slice.operations
	}
	after, err := w.take(t)
	if err != nil {
		return err
	}
	sort.Float64s(rates[:])
	n := float64(max(all.operations, 1))
	fmt.Printf(`{"operations":%d,"perSecond":%.1f,"best":%.1f,"p50":%.2f,"p99":%.2f,"clientCpu":%.3f,"serverCpu":%.3f,"clientBytes":%.1f,"serverBytes":%.1f}`+"\n",
		all.operations, rates[slices/2], rates[slices-1], all.latencies.quantile(0.5), all.latencies.quantile(0.99),
		(after.client-before.client)*1e6/n, (after.server-before.server)*1e6/n,
		float64(after.clientBytes-before.clientBytes)/n, float64(after.serverBytes-before.serverBytes)/n)
	return nil
}

// Processor time in seconds, and bytes allocated.
type usage struct {
	client, server           float64
	clientBytes, serverBytes uint64
}

func (w workload) take(t *traffic) (usage, error) {
	serverBytes, err := t.allocatedByServer()
	server, err2 := processorTime(w.server)
	var own syscall.Rusage
	err3 := syscall.Getrusage(syscall.RUSAGE_SELF, &own)
	client := float64(own.Utime.Nano()+own.Stime.Nano()) / 1e9
	return usage{client, server, allocated(), serverBytes}, errors.Join(err, err2, err3)
}

// User and system, of USER_HZ = 100. The name of the program, in brackets, may hold anything.
func processorTime(pid int) (float64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	text := string(stat)
	fields := strings.Fields(text[strings.LastIndex(text, ")")+1:])
	user, err := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	return float64(user+system) / 100, errors.Join(err, err2)
}

const stepBits = 6

// Log-linear, as benchmarks/Ttrpc/Load/Histogram.cs; of nanoseconds.
type histogram struct {
	counts [(64 - stepBits) << stepBits]uint32
	count  int64
}

func (h *histogram) add(d time.Duration) {
	value := uint64(d)
	shift := max(bits.Len64(value|1)-1-stepBits, 0)
	h.counts[shift<<stepBits+int(value>>shift)]++
	h.count++
}

func (h *histogram) addAll(other *histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.count += other.count
}

// In microseconds.
func (h *histogram) quantile(share float64) float64 {
	rank := int64(math.Ceil(share * float64(h.count)))
	for i := 0; i < len(h.counts) && rank > 0; i++ {
		if rank -= int64(h.counts[i]); rank <= 0 {
			shift := max(i>>stepBits-1, 0)
			step := float64(uint64(1) << shift)
			return (float64(i-shift<<stepBits)*step + (step-1)/2) / 1e3
		}
	}
	return 0
}
