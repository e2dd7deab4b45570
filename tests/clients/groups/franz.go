// A member that is franz-go. Arguments: addresses, topic, group, protocol, instance id or -.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

var out = bufio.NewWriter(os.Stdout)

func log(word string, rest ...any) {
	fmt.Fprintln(out, append([]any{time.Now().UnixMicro(), word}, rest...)...)
}

func callback(word, topic string) func(context.Context, *kgo.Client, map[string][]int32) {
	return func(_ context.Context, _ *kgo.Client, all map[string][]int32) {
		log(word, strings.Trim(fmt.Sprint(all[topic]), "[]"))
		out.Flush()
	}
}

func main() {
	addresses, topic, group, protocol, instance := os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5]
	options := []kgo.Opt{
		kgo.SeedBrokers(strings.Split(addresses, ",")...), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.SessionTimeout(6 * time.Second), kgo.HeartbeatInterval(time.Second), kgo.FetchMaxWait(200 * time.Millisecond),
		kgo.OnPartitionsAssigned(callback("assigned", topic)), kgo.OnPartitionsRevoked(callback("revoked", topic)),
		kgo.OnPartitionsLost(callback("lost", topic)),
	}
	if protocol == "consumer" {
		options = append(options, kgo.ServerSideBalancer())
	}
	if instance != "-" {
		options = append(options, kgo.InstanceID(instance))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		panic(err)
	}
	ctx, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	for ctx.Err() == nil {
		done := map[int32]*kgo.Record{}
		fetches := client.PollRecords(ctx, 1000)
		fetches.EachRecord(func(one *kgo.Record) {
			log("record", one.Partition, one.Offset, string(one.Value))
			done[one.Partition] = one
		})
		fetches.EachError(func(_ string, _ int32, err error) { fmt.Fprintln(os.Stderr, err) })
		if len(done) > 0 {
			var last []*kgo.Record
			var all []string
			for partition, one := range done {
				last = append(last, one)
				all = append(all, fmt.Sprintf("%d:%d", partition, one.Offset+1))
			}
			log("committing", strings.Join(all, " "))
			out.Flush()
			if err := client.CommitRecords(context.Background(), last...); err != nil {
				fmt.Fprintln(os.Stderr, err)
			} else {
				log("commit", strings.Join(all, " "))
			}
			out.Flush()
		}
		client.AllowRebalance()
	}
	client.CloseAllowingRebalance()
	log("left")
	out.Flush()
}
