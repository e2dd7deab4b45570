import java.time.*;
import java.util.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.utils.AppInfoParser;

/** A member that is Apache Kafka's own consumer. Arguments: addresses, topic, group, protocol, instance id or -. */
public class Member {
    static final StringBuilder lines = new StringBuilder();

    static void log(String word, Object rest) {
        Instant now = Instant.now();
        lines.append(now.getEpochSecond() * 1_000_000 + now.getNano() / 1000).append(' ').append(word).append(' ').append(rest).append('\n');
    }

    static void flush() {
        byte[] bytes = lines.toString().getBytes();
        System.out.write(bytes, 0, bytes.length);
        System.out.flush();
        lines.setLength(0);
    }

    static void happened(String word, Collection<TopicPartition> partitions) {
        StringJoiner all = new StringJoiner(" ");
        partitions.forEach(one -> all.add("" + one.partition()));
        log(word, all);
        flush();
    }

    public static void main(String[] words) throws Exception {
        if (words[0].equals("--version")) {
            System.out.println("Java " + AppInfoParser.getVersion());
            return;
        }
        Properties settings = new Properties();
        settings.put("bootstrap.servers", words[0]);
        settings.put("group.id", words[2]);
        settings.put("group.protocol", words[3]);
        settings.put("enable.auto.commit", "false");
        settings.put("auto.offset.reset", "earliest");
        if (words[3].equals("classic")) {
            settings.put("session.timeout.ms", "6000");
            settings.put("heartbeat.interval.ms", "1000");
        }
        if (!words[4].equals("-")) settings.put("group.instance.id", words[4]);
        var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
        Thread main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            consumer.wakeup();
            try { main.join(); } catch (InterruptedException ignored) { }
        }));
        consumer.subscribe(List.of(words[1]), new ConsumerRebalanceListener() {
            public void onPartitionsAssigned(Collection<TopicPartition> all) { happened("assigned", all); }
            public void onPartitionsRevoked(Collection<TopicPartition> all) { happened("revoked", all); }
            public void onPartitionsLost(Collection<TopicPartition> all) { happened("lost", all); }
        });
        Map<TopicPartition, OffsetAndMetadata> done = new HashMap<>();
        try {
            while (true) {
                for (var record : consumer.poll(Duration.ofMillis(200))) {
                    log("record", record.partition() + " " + record.offset() + " " + record.value());
                    done.put(new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
                }
                if (done.isEmpty()) continue;
                StringJoiner all = new StringJoiner(" ");
                done.forEach((one, at) -> all.add(one.partition() + ":" + at.offset()));
                log("committing", all);
                flush();
                try {
                    consumer.commitSync(done);
                    log("commit", all);
                } catch (WakeupException ending) {
                    throw ending;
                } catch (KafkaException problem) {
                    System.err.println(problem);
                }
                flush();
                done.clear();
            }
        } catch (WakeupException ending) {
            consumer.close();
            log("left", "");
            flush();
        }
    }
}
