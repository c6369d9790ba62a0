// The official Go client of the gRPC protocol, unmodified, against a server: started by ./run.
//
// First the cases that mostly wait, side by side; then those that restart the broker. One line for each, `N passed, N failed` at the
// end, exit code 1 if one failed. Arguments: parts of the names of the cases to run (none: all).
package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	rmq "github.com/apache/rocketmq-clients/golang/v5"
)

const (
	sideBySide = 16
	limit      = 150 * time.Second
	label      = "go-5.1.4"
)

type testCase struct {
	name string
	body func(*kit)
}

var (
	mutex  sync.Mutex
	totals = map[string]int{}
)

func main() {
	rmq.ResetLogger()
	start := time.Now()
	// Whether connections are plain is a setting of the process.
	rmq.EnableSsl = os.Getenv("PLAIN") == ""
	if !rmq.EnableSsl {
		together(plainCases)
	} else {
		together(cases)
		for _, one := range restartCases {
			if wanted(one.name) && hookCommand == "" {
				report(one, "skip", 0, "the broker cannot be restarted here")
			} else if wanted(one.name) {
				run(one)
			}
		}
	}
	more := ""
	if totals["skip"] > 0 {
		more = fmt.Sprintf(", %d skipped", totals["skip"])
	}
	fmt.Printf("%d passed, %d failed%s (%s, %.0f s)\n", totals["ok"], totals["FAILED"], more, label, time.Since(start).Seconds())
	if totals["FAILED"] > 0 {
		os.Exit(1)
	}
}

func wanted(name string) bool {
	for _, part := range os.Args[1:] {
		if strings.Contains(name, part) {
			return true
		}
	}
	return len(os.Args) == 1
}

func together(all []testCase) {
	slots := make(chan struct{}, sideBySide)
	var running sync.WaitGroup
	for _, one := range all {
		if wanted(one.name) {
			slots <- struct{}{}
			running.Go(func() {
				run(one)
				<-slots
			})
		}
	}
	running.Wait()
}

// run runs one case within the limit and reports how it went; a failure is a panic of the case.
func run(one testCase) {
	start := time.Now()
	k := &kit{name: strings.ReplaceAll(one.name, ".", "_")}
	result := make(chan string, 1)
	go func() {
		defer k.close()
		defer func() {
			if problem := recover(); problem != nil {
				result <- fmt.Sprintf("%v\n%s", problem, whereInCases(string(debug.Stack())))
			} else {
				result <- ""
			}
		}()
		one.body(k)
	}()
	problem := ""
	select {
	case problem = <-result:
	case <-time.After(limit):
		problem = "not done within " + limit.String()
	}
	if problem != "" {
		report(one, "FAILED", time.Since(start), k.notes()+"\n       "+problem)
	} else {
		report(one, "ok", time.Since(start), k.notes())
	}
}

func report(one testCase, result string, took time.Duration, notes string) {
	mutex.Lock()
	defer mutex.Unlock()
	totals[result]++
	fmt.Printf("%-6s %s %-28s %6.1f s  %s\n", result, label, one.name, took.Seconds(), notes)
}

// whereInCases keeps the lines of a stack that are of this folder.
func whereInCases(stack string) string {
	kept := []string{}
	for _, line := range strings.Split(stack, "\n") {
		if strings.HasPrefix(line, "\t") && strings.Contains(line, "/interop/grpc/go/") && !strings.Contains(line, "/main.go") && len(kept) < 4 {
			kept = append(kept, "         at "+strings.TrimSpace(line))
		}
	}
	return strings.Join(kept, "\n")
}
