import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * From a record's timestamp to the hands of a consumer, by Kafka's own client with its defaults. The records must be dated when
 * they are sent, on this machine's clock; resolution is a millisecond.
 *
 * <pre>Latency BOOTSTRAP TOPIC SKIP RECORDS SECONDS</pre>
 *
 * Reads from the log's end on: prints "ready" when it does, leaves out the first SKIP records, and ends after RECORDS more or
 * so many seconds. Then prints how many it measured, and p50, p99, p99.9 and the maximum in ms.
 */
public final class Latency {
    public static void main(String[] args) {
        long skip = Long.parseLong(args[2]);
        int records = Integer.parseInt(args[3]);
        long until = System.currentTimeMillis() + Long.parseLong(args[4]) * 1000;
        Map<String, Object> settings = Map.of("bootstrap.servers", args[0], "enable.auto.commit", "false",
                "max.poll.records", "10000");
        long[] latencies = new long[records];
        int measured = 0;
        try (Consumer<byte[], byte[]> consumer =
                new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            List<TopicPartition> partitions = consumer.partitionsFor(args[1]).stream()
                    .map(each -> new TopicPartition(each.topic(), each.partition())).toList();
            consumer.assign(partitions);
            consumer.seekToEnd(partitions);
            partitions.forEach(consumer::position);
            System.out.println("ready");
            while (measured < records && System.currentTimeMillis() < until) {
                ConsumerRecords<byte[], byte[]> polled = consumer.poll(Duration.ofMillis(100));
                long now = System.currentTimeMillis();
                for (ConsumerRecord<byte[], byte[]> record : polled) {
                    if (skip > 0) {
                        skip--;
                    } else if (measured < records) {
                        latencies[measured++] = now - record.timestamp();
                    }
                }
            }
        }
        Arrays.sort(latencies, 0, measured);
        if (measured == 0) {
            System.out.println("0");
            return;
        }
        System.out.printf("%d %d %d %d %d%n", measured, at(latencies, measured, 0.5), at(latencies, measured, 0.99),
                at(latencies, measured, 0.999), latencies[measured - 1]);
    }

    private static long at(long[] sorted, int count, double quantile) {
        return sorted[Math.min(count - 1, (int) Math.ceil(quantile * count) - 1)];
    }
}
