// The official Go client, unmodified, against a server: the cases of this folder, started by tests/interop/run.
//
// First those that mostly wait, side by side; then those that restart the server, one after the other. One line for each,
// `N passed, N failed` at the end, exit code 1 if one failed. Arguments: parts of the names of the cases to run (none: all).
package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2/rlog"
)

const (
	sideBySide = 6
	limit      = 240 * time.Second
)

type testCase struct {
	name string
	// Needs the broker to be stopped and started: run alone, and last.
	restarts bool
	body     func(*kit)
}

func cases() []testCase {
	all := []testCase{}
	all = append(all, sendCases...)
	all = append(all, consumeCases...)
	all = append(all, waitingCases...)
	all = append(all, adminCases...)
	all = append(all, restartCases...)
	return all
}

func main() {
	rlog.SetLogLevel("fatal")
	label := os.Getenv("LABEL")
	wanted := func(name string) bool {
		for _, part := range os.Args[1:] {
			if strings.Contains(name, part) {
				return true
			}
		}
		return len(os.Args) == 1
	}
	start := time.Now()
	totals := map[string]int{}
	var mutex sync.Mutex
	report := func(one testCase, result string, took time.Duration, notes string) {
		mutex.Lock()
		defer mutex.Unlock()
		totals[result]++
		fmt.Printf("%-6s %s %-30s %6.1f s  %s\n", result, label, one.name, took.Seconds(), notes)
	}
	slots := make(chan struct{}, sideBySide)
	var running sync.WaitGroup
	for _, one := range cases() {
		if !wanted(one.name) || one.restarts {
			continue
		}
		one := one
		running.Add(1)
		slots <- struct{}{}
		go func() {
			run(one, report)
			<-slots
			running.Done()
		}()
	}
	running.Wait()
	for _, one := range cases() {
		if wanted(one.name) && one.restarts {
			if hookCommand == "" {
				report(one, "skip", 0, "")
				continue
			}
			run(one, report)
		}
	}
	more := ""
	if totals["skip"] > 0 {
		more = fmt.Sprintf(", %d skipped", totals["skip"])
	}
	took := time.Since(start).Seconds()
	fmt.Printf("%d passed, %d failed%s (%s, %.0f s)\n", totals["ok"], totals["FAILED"], more, label, took)
	if totals["FAILED"] > 0 {
		os.Exit(1)
	}
}

// run runs one case within the limit and reports how it went; a failure is a panic of the case.
func run(one testCase, report func(testCase, string, time.Duration, string)) {
	start := time.Now()
	k := &kit{name: strings.ReplaceAll(one.name, ".", "_")}
	failure := make(chan string, 1)
	go func() {
		defer k.close()
		defer func() {
			if problem := recover(); problem != nil {
				failure <- fmt.Sprintf("%v\n%s", problem, whereInCases(string(debug.Stack())))
				return
			}
			failure <- ""
		}()
		one.body(k)
	}()
	problem := ""
	select {
	case problem = <-failure:
	case <-time.After(limit):
		problem = "not done within " + limit.String()
	}
	if problem != "" {
		report(one, "FAILED", time.Since(start), k.notes()+"\n       "+problem)
		return
	}
	report(one, "ok", time.Since(start), k.notes())
}

// whereInCases keeps the lines of a stack that are of this folder.
func whereInCases(stack string) string {
	kept := []string{}
	for _, line := range strings.Split(stack, "\n") {
		ours := strings.HasPrefix(line, "\t") && !strings.Contains(line, "/pkg/mod/") && !strings.Contains(line, "/src/")
		if ours && !strings.Contains(line, "/main.go") && len(kept) < 4 {
			kept = append(kept, "         at "+strings.TrimSpace(line))
		}
	}
	return strings.Join(kept, "\n")
}
