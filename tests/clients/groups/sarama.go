// A member that is sarama. Arguments: addresses, topic, group, protocol (classic), instance id or -.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/IBM/sarama"
)

type member struct {
	topic, group string
	admin        sarama.ClusterAdmin
	mutex        sync.Mutex
}

func (m *member) log(word string, rest ...any) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	fmt.Println(append([]any{time.Now().UnixMicro(), word}, rest...)...)
}

func (m *member) happened(word string, session sarama.ConsumerGroupSession) {
	m.log(word, strings.Trim(fmt.Sprint(session.Claims()[m.topic]), "[]"))
}

func (m *member) Setup(session sarama.ConsumerGroupSession) error {
	m.happened("assigned", session)
	return nil
}

func (m *member) Cleanup(session sarama.ConsumerGroupSession) error {
	m.happened("revoked", session)
	return nil
}

// Commit does not say whether it has worked: what the group is asked for next does.
func (m *member) commit(session sarama.ConsumerGroupSession, partition int32, next int64) {
	m.log("committing", fmt.Sprintf("%d:%d", partition, next))
	session.Commit()
	found, err := m.admin.ListConsumerGroupOffsets(m.group, map[string][]int32{m.topic: {partition}})
	if err == nil {
		if block := found.GetBlock(m.topic, partition); block != nil && block.Offset == next {
			m.log("commit", fmt.Sprintf("%d:%d", partition, next))
			return
		}
	}
	fmt.Fprintln(os.Stderr, "not committed:", partition, next, err)
}

func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	next, tick := int64(-1), time.NewTicker(300*time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case one, more := <-claim.Messages():
			if !more {
				if next >= 0 {
					m.commit(session, claim.Partition(), next)
				}
				return nil
			}
			m.log("record", one.Partition, one.Offset, string(one.Value))
			session.MarkMessage(one, "")
			next = one.Offset + 1
		case <-tick.C:
			if next >= 0 {
				m.commit(session, claim.Partition(), next)
				next = -1
			}
		}
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func main() {
	addresses, instance := strings.Split(os.Args[1], ","), os.Args[5]
	config := sarama.NewConfig()
	config.Version = sarama.V2_8_0_0
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Group.Session.Timeout = 6 * time.Second
	config.Consumer.Group.Heartbeat.Interval = time.Second
	if instance != "-" {
		config.Consumer.Group.InstanceId = instance
	}
	m := &member{topic: os.Args[2], group: os.Args[3], admin: must(sarama.NewClusterAdmin(addresses, config))}
	group := must(sarama.NewConsumerGroup(addresses, m.group, config))
	ctx, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	for ctx.Err() == nil {
		if err := group.Consume(ctx, []string{m.topic}, m); err != nil {
			fmt.Fprintln(os.Stderr, err)
			time.Sleep(100 * time.Millisecond)
		}
	}
	group.Close()
	m.log("left")
}
