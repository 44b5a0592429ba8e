import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.*;
import java.util.concurrent.Future;
import kafka.api.FetchRequest;
import kafka.api.FetchRequestBuilder;
import kafka.api.PartitionOffsetRequestInfo;
import kafka.common.TopicAndPartition;
import kafka.javaapi.FetchResponse;
import kafka.javaapi.consumer.SimpleConsumer;
import kafka.message.MessageAndOffset;
import org.apache.kafka.clients.producer.*;

/**
 * Load and judge for sources from Kafka 0.8.2 to 1.1, with the clients of the source's own version: {@code scripts/kafka run NAME
 * scripts/judge/Old.java COMMAND...}. Judge.java's clients do not speak to brokers that old.
 *
 * <pre>
 *   produce BOOTSTRAP TOPIC PARTITIONS COUNT CODEC...   so many records with each codec, to all partitions in turn; some keys and
 *       some values are null. "large" instead of a codec is one record of 700,000 bytes. Prints how many were acknowledged.
 *   list BOOTSTRAP TOPIC PARTITIONS    one line a record, as "list" of Judge.java prints it
 * </pre>
 */
public final class Old {
    private static final int TIMEOUT_MS = 30_000;
    private static final int FETCH_BYTES = 1 << 20;
    private static final int LARGE_BYTES = 700_000;

    public static void main(String[] words) throws Exception {
        int partitions = Integer.parseInt(words[3]);
        switch (words[0]) {
            case "produce" -> {
                int count = Integer.parseInt(words[4]);
                int acknowledged = 0;
                for (int at = 5; at < words.length; at++) acknowledged += produce(words[1], words[2], partitions, count, words[at]);
                System.out.println(acknowledged);
            }
            case "list" -> {
                for (int partition = 0; partition < partitions; partition++) list(words[1], words[2], partition);
            }
            default -> throw new IllegalArgumentException(words[0]);
        }
        System.exit(0);
    }

    private static int produce(String bootstrap, String topic, int partitions, int count, String codec) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("acks", "all");
        boolean isLarge = codec.equals("large");
        settings.put("compression.type", isLarge ? "none" : codec);
        settings.put("linger.ms", "20");
        settings.put("batch.size", "8000");
        settings.put("key.serializer", "org.apache.kafka.common.serialization.ByteArraySerializer");
        settings.put("value.serializer", "org.apache.kafka.common.serialization.ByteArraySerializer");
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(settings);
        if (isLarge) sent.add(producer.send(new ProducerRecord<>(topic, 0, null, new byte[LARGE_BYTES])));
        for (int number = 0; number < count && !isLarge; number++) {
            String text = codec + " " + number;
            byte[] key = number % 3 == 0 ? null : ("key " + number % 100).getBytes(StandardCharsets.UTF_8);
            byte[] value = number % 7 == 6 ? null : (text + " " + "x".repeat(number % 200)).getBytes(StandardCharsets.UTF_8);
            sent.add(producer.send(new ProducerRecord<>(topic, number % partitions, key, value)));
        }
        for (Future<RecordMetadata> each : sent) each.get();
        producer.close();
        return sent.size();
    }

    private static void list(String bootstrap, String topic, int partition) throws Exception {
        String[] address = bootstrap.split(",")[0].split(":");
        SimpleConsumer consumer = new SimpleConsumer(address[0], Integer.parseInt(address[1]), TIMEOUT_MS, FETCH_BYTES, "judge");
        TopicAndPartition place = new TopicAndPartition(topic, partition);
        long offset = offset(consumer, place, kafka.api.OffsetRequest.EarliestTime());
        long end = offset(consumer, place, kafka.api.OffsetRequest.LatestTime());
        while (offset < end) {
            FetchRequest request = new FetchRequestBuilder().clientId("judge").addFetch(topic, partition, offset, FETCH_BYTES).build();
            FetchResponse answer = consumer.fetch(request);
            if (answer.hasError()) throw new IllegalStateException("error " + answer.errorCode(topic, partition));
            for (MessageAndOffset each : answer.messageSet(topic, partition)) {
                // A compressed set begins before what was asked for.
                if (each.offset() < offset) continue;
                print(partition, each);
                offset = each.nextOffset();
            }
        }
        consumer.close();
    }

    private static long offset(SimpleConsumer consumer, TopicAndPartition place, long time) {
        Map<TopicAndPartition, PartitionOffsetRequestInfo> asked = Map.of(place, new PartitionOffsetRequestInfo(time, 1));
        return consumer.getOffsetsBefore(new kafka.javaapi.OffsetRequest(asked, (short) 0, "judge"))
                .offsets(place.topic(), place.partition())[0];
    }

    private static void print(int partition, MessageAndOffset each) throws Exception {
        long timestamp = timestamp(each.message());
        MessageDigest digest = MessageDigest.getInstance("SHA-256");
        digest.update(ByteBuffer.allocate(8).putLong(timestamp).flip());
        // CreateTime, which is what the target is told.
        digest.update((byte) 0);
        bytes(digest, each.message().hasKey() ? each.message().key() : null);
        bytes(digest, each.message().isNull() ? null : each.message().payload());
        StringBuilder hex = new StringBuilder();
        for (byte one : Arrays.copyOf(digest.digest(), 16)) hex.append(String.format("%02x", one));
        System.out.println(partition + " " + each.offset() + " " + timestamp + " " + hex);
    }

    /** None before Kafka 0.10. */
    private static long timestamp(kafka.message.Message message) throws Exception {
        try {
            return (long) message.getClass().getMethod("timestamp").invoke(message);
        } catch (NoSuchMethodException e) {
            return -1;
        }
    }

    private static void bytes(MessageDigest digest, ByteBuffer bytes) {
        digest.update(ByteBuffer.allocate(4).putInt(bytes == null ? -1 : bytes.remaining()).flip());
        if (bytes != null) digest.update(bytes.duplicate());
    }
}
