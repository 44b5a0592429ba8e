import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.ExecutionException;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.acl.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.quota.*;
import org.apache.kafka.common.resource.*;
import org.apache.kafka.common.serialization.*;
import org.apache.kafka.connect.mirror.Heartbeat;
import org.apache.kafka.connect.mirror.RemoteClusterUtils;

/**
 * Kafka's own clients as load and as judge of the end-to-end tests. Reads commands from standard input, one a line, words
 * separated by blanks; answers each with any number of lines and then "ok", or "error ..." alone. One JVM serves a whole test.
 *
 * <pre>
 *   create BOOTSTRAP TOPIC PARTITIONS REPLICAS [CONFIG=VALUE]...    replicas: how many, or on which brokers: 1,2
 *   grow BOOTSTRAP TOPIC PARTITIONS
 *   delete BOOTSTRAP TOPIC
 *   configs BOOTSTRAP TOPIC                 the topic's own settings, sorted, one a line
 *   alter BOOTSTRAP TOPIC CONFIG=VALUE...
 *   unset BOOTSTRAP TOPIC CONFIG            back to what the brokers have
 *   topics BOOTSTRAP                        name and partition count of each topic, internal ones too
 *   produce BOOTSTRAP TOPIC SEED BYTES [key=value]...
 *       codec=none|gzip|snappy|lz4|zstd  record=1000 (mean bytes)  batch=65536  ago=0 (ms; how old the first record is)
 *       span=0 (ms from first to last timestamp)  keys=true|false|unique|COUNT  headers=true  only=PARTITION
 *       rate=0 (bytes a second; 0: as fast as it goes)
 *       keys=COUNT: what a compacted topic takes, that many keys and some tombstones.
 *       Records are a function of the seed. Prints the number of records acknowledged.
 *   empties BOOTSTRAP TOPIC COUNT           that many records of nothing into partition 0
 *   trim BOOTSTRAP TOPIC OFFSET [PARTITION] deletes the partition's (0's) records below the offset
 *   transact BOOTSTRAP TOPIC SEED COUNT     that many transactions of a few records, every second aborted, plain records between
 *   abort BOOTSTRAP TOPIC COUNT             one aborted transaction of that many records of nothing in partition 0, and a plain
 *       record behind it
 *   read BOOTSTRAP TOPIC [values] [uncommitted]   one line a partition: number, first offset, end offset, records, SHA-256 over
 *       every record's offset, timestamp, timestamp type, key, headers and value. With "values" a second digest without offsets;
 *       with "uncommitted" it reads with isolation level read_uncommitted.
 *   list BOOTSTRAP TOPIC [keys]             one line a record
 *   consume BOOTSTRAP TOPIC GROUP COUNT [classic|consumer] [PAUSE]   a member of the group reads at least so many records, 0:
 *       all, 20 at a time, commits after each time, and rests so many milliseconds; the group protocol is classic unless told.
 *       One line a record, as "list" prints it
 *   hold BOOTSTRAP TOPIC GROUP              a member of the group that stays until "release", without reading
 *   release BOOTSTRAP
 *   commit BOOTSTRAP TOPIC GROUP PARTITION OFFSET   sets the group's offset
 *   deny-cluster BOOTSTRAP                  ACLs that let everybody do all on topics, groups and transactional ids, and nothing
 *       on the cluster but what every client needs
 *   ends BOOTSTRAP TOPIC                    one line a partition: number, end offset
 *   watch BOOTSTRAP TOPIC OFFSETS [MS]      a line for each change of the partitions' end offsets, until their sum reaches this or
 *       so much time has passed: milliseconds since 1970, the sum
 *   leaders BOOTSTRAP TOPIC                 one line a partition: number, leader, in-sync replicas
 *   hide BOOTSTRAP TOPIC                    an ACL that leaves the topic to a principal that nobody is
 *   deny BOOTSTRAP TOPIC OPERATION          ACLs that let everybody do all on the topic but OPERATION
 *   quota BOOTSTRAP KIND=NAME[,KIND=NAME] KEY=[VALUE]...   sets quotas; without a value it is taken back, and without a name the
 *       default is meant
 *   quotas BOOTSTRAP                        whose they are, key and value of each, sorted, one a line
 *   scram BOOTSTRAP USER MECHANISM ITERATIONS PASSWORD
 *   remote BOOTSTRAP ALIAS [KEY=VALUE]...   what MirrorMaker 2's RemoteClusterUtils finds, with these settings of its client: upstream
 *       clusters, topics of checkpoints and of heartbeats, each sorted and separated by commas, and the hops from ALIAS
 *   translated BOOTSTRAP ALIAS GROUP [KEY=VALUE]...   a consumer begins where RemoteClusterUtils.translateOffsets says that the group
 *       of ALIAS stands, and reads to the end. One line a record, as "list" prints it
 *   heartbeats BOOTSTRAP TOPIC              source and target of each flow whose heartbeats are in the topic, sorted
 * </pre>
 */
public final class Judge {
    private static final long PATIENCE_MS = 120_000;
    private static final Map<String, Admin> ADMINS = new HashMap<>();
    private static final List<Consumer<?, ?>> HELD = new ArrayList<>();
    private static final PrintStream OUT = new PrintStream(System.out, false, StandardCharsets.UTF_8);

    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            try {
                run(line.trim().split("\\s+"));
                OUT.println("ok");
            } catch (Exception e) {
                Throwable cause = e instanceof ExecutionException && e.getCause() != null ? e.getCause() : e;
                OUT.println("error " + cause.toString().replace('\n', ' '));
            }
            OUT.flush();
        }
        System.exit(0);
    }

    private static void run(String[] words) throws Exception {
        String bootstrap = words[1];
        String topic = words.length > 2 ? words[2] : null;
        List<String> rest = words.length > 3 ? Arrays.asList(words).subList(3, words.length) : List.of();
        switch (words[0]) {
            case "create" -> {
                NewTopic wanted = topic(topic, Integer.parseInt(rest.get(0)), rest.get(1));
                boolean isNew = !admin(bootstrap).listTopics().names().get().contains(topic);
                try {
                    admin(bootstrap).createTopics(List.of(wanted.configs(pairs(rest.subList(2, rest.size()))))).all().get();
                } catch (ExecutionException e) {
                    // The client asks again when a cold broker takes long, and then meets what it made itself.
                    if (!isNew || !(e.getCause() instanceof TopicExistsException)) throw e;
                }
                awaitTopic(bootstrap, topic);
            }
            case "grow" -> admin(bootstrap)
                    .createPartitions(Map.of(topic, NewPartitions.increaseTo(Integer.parseInt(rest.get(0))))).all().get();
            case "delete" -> admin(bootstrap).deleteTopics(List.of(topic)).all().get();
            case "configs" -> configs(bootstrap, topic);
            case "alter" -> {
                List<AlterConfigOp> ops = new ArrayList<>();
                pairs(rest).forEach((key, value) ->
                        ops.add(new AlterConfigOp(new ConfigEntry(key, value), AlterConfigOp.OpType.SET)));
                admin(bootstrap).incrementalAlterConfigs(
                        Map.of(new ConfigResource(ConfigResource.Type.TOPIC, topic), ops)).all().get();
            }
            case "unset" -> admin(bootstrap).incrementalAlterConfigs(Map.of(
                    new ConfigResource(ConfigResource.Type.TOPIC, topic),
                    List.of(new AlterConfigOp(new ConfigEntry(rest.get(0), null), AlterConfigOp.OpType.DELETE)))).all().get();
            case "topics" -> {
                Set<String> names = new TreeSet<>(
                        admin(bootstrap).listTopics(new ListTopicsOptions().listInternal(true)).names().get());
                for (var each : new TreeMap<>(admin(bootstrap).describeTopics(names).topicNameValues()).entrySet()) {
                    try {
                        OUT.println(each.getKey() + " " + each.getValue().get().partitions().size());
                    } catch (ExecutionException gone) {
                        // It was deleted between the two questions.
                        if (!(gone.getCause() instanceof UnknownTopicOrPartitionException)) {
                            throw gone;
                        }
                    }
                }
            }
            case "produce" -> produce(bootstrap, topic, Long.parseLong(rest.get(0)), Long.parseLong(rest.get(1)),
                    pairs(rest.subList(2, rest.size())));
            case "empties" -> empties(bootstrap, topic, Long.parseLong(rest.get(0)));
            case "trim" -> admin(bootstrap).deleteRecords(Map.of(
                    new TopicPartition(topic, rest.size() > 1 ? Integer.parseInt(rest.get(1)) : 0),
                    RecordsToDelete.beforeOffset(Long.parseLong(rest.get(0))))).all().get();
            case "transact" -> transact(bootstrap, topic, Long.parseLong(rest.get(0)), Integer.parseInt(rest.get(1)));
            case "abort" -> abort(bootstrap, topic, Long.parseLong(rest.get(0)));
            case "read" -> read(bootstrap, topic, rest.contains("values"), rest.contains("uncommitted"));
            case "list" -> list(bootstrap, topic, rest.contains("keys"));
            case "consume" -> consume(bootstrap, topic, rest.get(0), Long.parseLong(rest.get(1)),
                    rest.size() > 2 ? rest.get(2) : "classic", rest.size() > 3 ? Long.parseLong(rest.get(3)) : 0);
            case "hold" -> {
                Consumer<byte[], byte[]> held = member(bootstrap, rest.get(0), "classic");
                held.subscribe(List.of(topic));
                held.poll(Duration.ofSeconds(1));
                for (int tries = 0; held.assignment().isEmpty() && tries < 30; tries++) held.poll(Duration.ofSeconds(1));
                HELD.add(held);
            }
            case "release" -> {
                HELD.forEach(Consumer::close);
                HELD.clear();
            }
            case "commit" -> admin(bootstrap).alterConsumerGroupOffsets(rest.get(0), Map.of(
                    new TopicPartition(topic, Integer.parseInt(rest.get(1))),
                    new OffsetAndMetadata(Long.parseLong(rest.get(2))))).all().get();
            case "deny-cluster" -> {
                List<AclBinding> all = new ArrayList<>();
                for (ResourceType type : List.of(ResourceType.TOPIC, ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID)) {
                    all.add(new AclBinding(new ResourcePattern(type, "*", PatternType.LITERAL),
                            new AccessControlEntry("User:*", "*", AclOperation.ALL, AclPermissionType.ALLOW)));
                }
                ResourcePattern cluster = new ResourcePattern(ResourceType.CLUSTER, "kafka-cluster", PatternType.LITERAL);
                for (AclOperation each : List.of(AclOperation.DESCRIBE, AclOperation.CREATE, AclOperation.DESCRIBE_CONFIGS,
                        AclOperation.IDEMPOTENT_WRITE)) {
                    all.add(new AclBinding(cluster, new AccessControlEntry("User:*", "*", each, AclPermissionType.ALLOW)));
                }
                for (AclOperation each : List.of(AclOperation.ALTER, AclOperation.CLUSTER_ACTION)) {
                    all.add(new AclBinding(cluster, new AccessControlEntry("User:*", "*", each, AclPermissionType.DENY)));
                }
                admin(bootstrap).createAcls(all).all().get();
            }
            case "ends" -> ends(bootstrap, topic).forEach((partition, end) -> OUT.println(partition + " " + end));
            case "watch" -> watch(bootstrap, topic, Long.parseLong(rest.get(0)),
                    rest.size() > 1 ? Long.parseLong(rest.get(1)) : PATIENCE_MS);
            case "leaders" -> {
                for (TopicPartitionInfo each : awaitTopic(bootstrap, topic).partitions()) {
                    OUT.println(each.partition() + " " + (each.leader() == null ? -1 : each.leader().id()) + " "
                            + each.isr().stream().map(Node::idString).collect(Collectors.joining(",")));
                }
            }
            case "hide" -> allow(bootstrap, topic, List.of(
                    new AccessControlEntry("User:nobody", "*", AclOperation.ALL, AclPermissionType.ALLOW)));
            case "deny" -> allow(bootstrap, topic, List.of(
                    new AccessControlEntry("User:*", "*", AclOperation.ALL, AclPermissionType.ALLOW),
                    new AccessControlEntry("User:*", "*", AclOperation.fromString(rest.get(0)), AclPermissionType.DENY)));
            case "quota" -> {
                Map<String, String> entity = new HashMap<>();
                optional(topic.split(",")).forEach(entity::put);
                List<ClientQuotaAlteration.Op> ops = new ArrayList<>();
                optional(rest.toArray(new String[0])).forEach((key, value) ->
                        ops.add(new ClientQuotaAlteration.Op(key, value == null ? null : Double.valueOf(value))));
                admin(bootstrap).alterClientQuotas(
                        List.of(new ClientQuotaAlteration(new ClientQuotaEntity(entity), ops))).all().get();
            }
            case "quotas" -> {
                Set<String> lines = new TreeSet<>();
                admin(bootstrap).describeClientQuotas(ClientQuotaFilter.all()).entities().get().forEach((entity, values) -> {
                    String whose = new TreeMap<>(entity.entries()).entrySet().stream()
                            .map(each -> each.getKey() + "=" + (each.getValue() == null ? "" : each.getValue()))
                            .collect(Collectors.joining(","));
                    values.forEach((key, value) -> lines.add(whose + " " + key + " " + value));
                });
                lines.forEach(OUT::println);
            }
            case "scram" -> admin(bootstrap).alterUserScramCredentials(List.of(new UserScramCredentialUpsertion(
                    topic, new ScramCredentialInfo(ScramMechanism.fromMechanismName(rest.get(0)),
                            Integer.parseInt(rest.get(1))), rest.get(2)))).all().get();
            case "remote" -> remote(bootstrap, topic, pairs(rest));
            case "translated" -> translated(bootstrap, topic, rest.get(0), pairs(rest.subList(1, rest.size())));
            case "heartbeats" -> heartbeats(bootstrap, topic);
            default -> throw new IllegalArgumentException("unknown command " + words[0]);
        }
    }

    /** The partitions' high watermarks. */
    private static SortedMap<Integer, Long> ends(String bootstrap, String topic) throws Exception {
        Map<TopicPartition, OffsetSpec> asked = new HashMap<>();
        awaitTopic(bootstrap, topic).partitions().forEach(
                each -> asked.put(new TopicPartition(topic, each.partition()), OffsetSpec.latest()));
        SortedMap<Integer, Long> ends = new TreeMap<>();
        admin(bootstrap).listOffsets(asked).all().get()
                .forEach((partition, end) -> ends.put(partition.partition(), end.offset()));
        return ends;
    }

    private static void watch(String bootstrap, String topic, long offsets, long patienceMs) throws Exception {
        long known = -1;
        for (long until = System.currentTimeMillis() + patienceMs; known < offsets && System.currentTimeMillis() < until; ) {
            long sum = ends(bootstrap, topic).values().stream().mapToLong(Long::longValue).sum();
            if (sum == known) {
                Thread.sleep(2);
                continue;
            }
            known = sum;
            OUT.println(System.currentTimeMillis() + " " + sum);
            OUT.flush();
        }
    }

    private static NewTopic topic(String name, int partitions, String replicas) {
        if (!replicas.contains(",")) return new NewTopic(name, partitions, Short.parseShort(replicas));
        List<Integer> brokers = Arrays.stream(replicas.split(",")).map(Integer::valueOf).toList();
        Map<Integer, List<Integer>> assignments = new HashMap<>();
        for (int i = 0; i < partitions; i++) assignments.put(i, brokers);
        return new NewTopic(name, assignments);
    }

    private static void allow(String bootstrap, String topic, List<AccessControlEntry> entries) throws Exception {
        ResourcePattern resource = new ResourcePattern(ResourceType.TOPIC, topic, PatternType.LITERAL);
        admin(bootstrap).createAcls(entries.stream().map(each -> new AclBinding(resource, each)).toList()).all().get();
    }

    private static void configs(String bootstrap, String topic) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        admin(bootstrap).describeConfigs(List.of(resource)).all().get().get(resource).entries().stream()
                .filter(each -> each.source() == ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG)
                .map(each -> each.name() + "=" + each.value()).sorted().forEach(OUT::println);
    }

    // --- load

    private static void produce(String bootstrap, String topic, long seed, long bytes, Map<String, String> with)
            throws Exception {
        int mean = Integer.parseInt(with.getOrDefault("record", "1000"));
        String keys = with.getOrDefault("keys", "true");
        boolean headers = Boolean.parseBoolean(with.getOrDefault("headers", "true"));
        long rate = Long.parseLong(with.getOrDefault("rate", "0"));
        long first = System.currentTimeMillis() - Long.parseLong(with.getOrDefault("ago", "0"));
        long span = Long.parseLong(with.getOrDefault("span", "0"));
        Properties settings = producing(bootstrap);
        settings.put("compression.type", with.getOrDefault("codec", "none"));
        settings.put("batch.size", with.getOrDefault("batch", "65536"));
        settings.put("max.request.size", Integer.toString(64 << 20));
        settings.put("buffer.memory", Integer.toString(64 << 20));
        settings.put("linger.ms", "5");
        settings.put("acks", "all");
        settings.put("delivery.timeout.ms", Long.toString(PATIENCE_MS));
        settings.put("request.timeout.ms", "10000");
        // A producer that meets partitions in the making may lose its sequence, and then waits for nothing.
        int count = ends(bootstrap, topic).size();
        SplittableRandom random = new SplittableRandom(seed);
        Exception[] failure = new Exception[1];
        long[] acknowledged = new long[1];
        try (Producer<byte[], byte[]> producer = new KafkaProducer<>(settings)) {
            long sent = 0;
            long begin = System.nanoTime();
            while (sent < bytes && failure[0] == null) {
                byte[] value = isCount(keys) && random.nextInt(20) == 0 ? null : value(random, mean);
                Integer partition = with.containsKey("only")
                        ? Integer.valueOf(with.get("only")) : Integer.valueOf(random.nextInt(count));
                long timestamp = first + (bytes <= 0 ? 0 : (long) ((double) sent / bytes * span));
                ProducerRecord<byte[], byte[]> each = new ProducerRecord<>(topic, partition, timestamp,
                        key(random, keys, sent), value, headers ? headers(random) : null);
                producer.send(each, (metadata, e) -> {
                    if (e != null) failure[0] = e;
                    else acknowledged[0]++;
                });
                sent += value == null ? 10 : value.length;
                if (rate > 0) {
                    long ahead = sent * 1_000_000_000 / rate - (System.nanoTime() - begin);
                    if (ahead > 5_000_000) Thread.sleep(ahead / 1_000_000);
                }
            }
            producer.flush();
        }
        if (failure[0] != null) throw failure[0];
        OUT.println(acknowledged[0]);
    }

    private static void empties(String bootstrap, String topic, long count) throws Exception {
        Properties settings = producing(bootstrap);
        settings.put("compression.type", "zstd");
        settings.put("batch.size", Integer.toString(1 << 20));
        settings.put("linger.ms", "20");
        awaitTopic(bootstrap, topic);
        Exception[] failure = new Exception[1];
        try (Producer<byte[], byte[]> producer = new KafkaProducer<>(settings)) {
            for (long sent = 0; sent < count && failure[0] == null; sent++) {
                producer.send(new ProducerRecord<>(topic, 0, null, new byte[0]), (metadata, e) -> {
                    if (e != null) failure[0] = e;
                });
            }
            producer.flush();
        }
        if (failure[0] != null) throw failure[0];
    }

    private static void transact(String bootstrap, String topic, long seed, int count) throws Exception {
        Properties settings = producing(bootstrap);
        int partitions = awaitTopic(bootstrap, topic).partitions().size();
        SplittableRandom random = new SplittableRandom(seed);
        try (Producer<byte[], byte[]> plain = new KafkaProducer<>(settings)) {
            settings.put("transactional.id", topic + "-" + seed);
            try (Producer<byte[], byte[]> producer = new KafkaProducer<>(settings)) {
                producer.initTransactions();
                for (int i = 0; i < count; i++) {
                    producer.beginTransaction();
                    for (int record = random.nextInt(1, 9); record > 0; record--) {
                        producer.send(some(random, topic, partitions));
                    }
                    producer.flush();
                    plain.send(some(random, topic, partitions)).get();
                    if (i % 2 == 1) producer.abortTransaction();
                    else producer.commitTransaction();
                }
            }
        }
    }

    private static ProducerRecord<byte[], byte[]> some(SplittableRandom random, String topic, int partitions) {
        return new ProducerRecord<>(topic, random.nextInt(partitions), null, key(random, "true", 0), value(random, 200),
                headers(random));
    }

    private static void abort(String bootstrap, String topic, long count) throws Exception {
        Properties settings = producing(bootstrap);
        settings.put("batch.size", Integer.toString(1 << 20));
        settings.put("transactional.id", topic + "-aborting");
        awaitTopic(bootstrap, topic);
        try (Producer<byte[], byte[]> producer = new KafkaProducer<>(settings)) {
            producer.initTransactions();
            producer.beginTransaction();
            for (long sent = 0; sent < count; sent++) producer.send(new ProducerRecord<>(topic, 0, null, new byte[0]));
            producer.flush();
            producer.abortTransaction();
        }
        try (Producer<byte[], byte[]> producer = new KafkaProducer<>(producing(bootstrap))) {
            producer.send(new ProducerRecord<>(topic, 0, null, new byte[1])).get();
        }
    }

    private static Properties producing(String bootstrap) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("key.serializer", ByteArraySerializer.class.getName());
        settings.put("value.serializer", ByteArraySerializer.class.getName());
        return settings;
    }

    /** About {@code mean} bytes of text that compresses as logs do, on one line; now and then empty. */
    private static byte[] value(SplittableRandom random, int mean) {
        int kind = random.nextInt(1000);
        if (kind == 0) return new byte[0];
        int length = Math.max(1, mean / 2 + random.nextInt(mean + 1));
        ByteBuffer out = ByteBuffer.allocate(length + 80);
        while (out.position() < length) {
            String part = "{\"id\":" + random.nextLong() + ",\"level\":\"" + (random.nextInt(9) == 0 ? "WARN" : "INFO")
                    + "\",\"took_ms\":" + random.nextInt(5000) + "} ";
            out.put(part.getBytes(StandardCharsets.UTF_8));
        }
        return Arrays.copyOf(out.array(), length);
    }

    private static boolean isCount(String text) {
        return Character.isDigit(text.charAt(0));
    }

    private static byte[] key(SplittableRandom random, String kind, long unique) {
        if (kind.equals("false")) return null;
        if (isCount(kind)) {
            int number = random.nextInt(Integer.parseInt(kind));
            return (number == 0 ? "" : "key-" + number).getBytes(StandardCharsets.UTF_8);
        }
        if (kind.equals("unique")) return Long.toString(unique).getBytes(StandardCharsets.UTF_8);
        return switch (random.nextInt(10)) {
            case 0 -> null;
            case 1 -> new byte[0];
            default -> ("key-" + random.nextInt(100_000)).getBytes(StandardCharsets.UTF_8);
        };
    }

    private static RecordHeaders headers(SplittableRandom random) {
        RecordHeaders made = new RecordHeaders();
        int count = random.nextInt(4);
        for (int i = 0; i < count; i++) {
            byte[] value = random.nextInt(5) == 0 ? null : Long.toHexString(random.nextLong()).getBytes(StandardCharsets.UTF_8);
            made.add(random.nextInt(7) == 0 ? "" : "header-" + random.nextInt(20), value);
        }
        return made;
    }

    // --- judge

    private static final class Digest {
        final MessageDigest exact = sha256();
        final MessageDigest values = sha256();
        long records;
    }

    private static void read(String bootstrap, String topic, boolean withValues, boolean uncommitted) throws Exception {
        try (Consumer<byte[], byte[]> consumer = consumer(bootstrap, uncommitted ? "read_uncommitted" : "read_committed")) {
            List<TopicPartition> all = partitions(consumer, topic);
            Map<TopicPartition, Long> begins = consumer.beginningOffsets(all);
            Map<TopicPartition, Long> ends = consumer.endOffsets(all);
            Map<TopicPartition, Digest> digests = new HashMap<>();
            all.forEach(each -> digests.put(each, new Digest()));
            each(consumer, all, ends, record -> {
                Digest digest = digests.get(new TopicPartition(record.topic(), record.partition()));
                digest.records++;
                digest.exact.update(ByteBuffer.allocate(8).putLong(record.offset()).flip());
                content(digest.exact, record);
                if (withValues) content(digest.values, record);
            });
            for (TopicPartition each : all) {
                Digest digest = digests.get(each);
                OUT.println(each.partition() + " " + begins.get(each) + " " + ends.get(each) + " " + digest.records + " "
                        + hex(digest.exact) + (withValues ? " " + hex(digest.values) : ""));
            }
        }
    }

    private static void list(String bootstrap, String topic, boolean withKeys) throws Exception {
        try (Consumer<byte[], byte[]> consumer = consumer(bootstrap)) {
            List<TopicPartition> all = partitions(consumer, topic);
            each(consumer, all, consumer.endOffsets(all), record -> {
                MessageDigest digest = sha256();
                content(digest, record);
                String key = record.key() == null ? "-" : new String(record.key(), StandardCharsets.UTF_8);
                OUT.println(record.partition() + " " + record.offset() + " " + record.timestamp() + " " + hex(digest)
                        + (withKeys ? " " + key : ""));
            });
        }
    }

    /** Reads on where the group stands, and commits what was read. */
    private static void consume(String bootstrap, String topic, String group, long count, String protocol, long pauseMs)
            throws Exception {
        try (Consumer<byte[], byte[]> consumer = member(bootstrap, group, protocol)) {
            consumer.subscribe(List.of(topic));
            List<TopicPartition> all = partitions(consumer, topic);
            Map<TopicPartition, Long> ends = consumer.endOffsets(all);
            long read = 0;
            long deadline = System.nanoTime() + PATIENCE_MS * 1_000_000;
            while (count > 0 ? read < count
                    : consumer.assignment().size() < all.size()
                            || all.stream().anyMatch(each -> consumer.position(each) < ends.get(each))) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    MessageDigest digest = sha256();
                    content(digest, record);
                    OUT.println(record.partition() + " " + record.offset() + " " + record.timestamp() + " " + hex(digest));
                    read++;
                }
                consumer.commitSync();
                if (pauseMs > 0) Thread.sleep(pauseMs);
                if (System.nanoTime() > deadline) throw new IllegalStateException("nothing came while reading to " + ends);
            }
        }
    }

    // --- MirrorMaker 2's client library

    private static Map<String, Object> mirrored(String bootstrap, Map<String, String> settings) {
        Map<String, Object> all = new HashMap<>(settings);
        all.put("bootstrap.servers", bootstrap);
        return all;
    }

    private static void remote(String bootstrap, String alias, Map<String, String> settings) throws Exception {
        Map<String, Object> all = mirrored(bootstrap, settings);
        OUT.println("upstream " + String.join(",", new TreeSet<>(RemoteClusterUtils.upstreamClusters(all))));
        OUT.println("checkpoints " + String.join(",", new TreeSet<>(RemoteClusterUtils.checkpointTopics(all))));
        OUT.println("heartbeats " + String.join(",", new TreeSet<>(RemoteClusterUtils.heartbeatTopics(all))));
        OUT.println("hops " + RemoteClusterUtils.replicationHops(all, alias));
    }

    private static void translated(String bootstrap, String alias, String group, Map<String, String> settings) throws Exception {
        Map<TopicPartition, OffsetAndMetadata> from = RemoteClusterUtils.translateOffsets(
                mirrored(bootstrap, settings), alias, group, Duration.ofSeconds(10));
        try (Consumer<byte[], byte[]> consumer = consumer(bootstrap)) {
            Map<TopicPartition, Long> ends = consumer.endOffsets(from.keySet());
            consumer.assign(from.keySet());
            from.forEach(consumer::seek);
            readTo(consumer, ends, record -> {
                MessageDigest digest = sha256();
                content(digest, record);
                OUT.println(record.partition() + " " + record.offset() + " " + record.timestamp() + " " + hex(digest));
            });
        }
    }

    private static void heartbeats(String bootstrap, String topic) {
        Set<String> flows = new TreeSet<>();
        try (Consumer<byte[], byte[]> consumer = consumer(bootstrap)) {
            List<TopicPartition> all = partitions(consumer, topic);
            each(consumer, all, consumer.endOffsets(all), record -> {
                Heartbeat heartbeat = Heartbeat.deserializeRecord(record);
                if (heartbeat.timestamp() > System.currentTimeMillis()) throw new IllegalStateException(heartbeat.toString());
                flows.add(heartbeat.sourceClusterAlias() + " " + heartbeat.targetClusterAlias());
            });
        }
        flows.forEach(OUT::println);
    }

    private static Consumer<byte[], byte[]> member(String bootstrap, String group, String protocol) {
        return new KafkaConsumer<>(consuming(bootstrap, "read_committed", Map.of(
                "group.id", group, "group.protocol", protocol, "auto.offset.reset", "earliest",
                "enable.auto.commit", "false", "max.poll.records", "20")));
    }

    private static void each(Consumer<byte[], byte[]> consumer, List<TopicPartition> all, Map<TopicPartition, Long> ends,
            java.util.function.Consumer<ConsumerRecord<byte[], byte[]>> sink) {
        consumer.assign(all);
        consumer.seekToBeginning(all);
        readTo(consumer, ends, sink);
    }

    private static void readTo(Consumer<byte[], byte[]> consumer, Map<TopicPartition, Long> ends,
            java.util.function.Consumer<ConsumerRecord<byte[], byte[]>> sink) {
        long deadline = System.nanoTime() + PATIENCE_MS * 1_000_000;
        while (consumer.assignment().stream().anyMatch(each -> consumer.position(each) < ends.get(each))) {
            ConsumerRecords<byte[], byte[]> some = consumer.poll(Duration.ofMillis(500));
            some.forEach(sink);
            if (!some.isEmpty()) deadline = System.nanoTime() + PATIENCE_MS * 1_000_000;
            if (System.nanoTime() > deadline) throw new IllegalStateException("nothing came while reading to " + ends);
        }
    }

    private static void content(MessageDigest digest, ConsumerRecord<byte[], byte[]> record) {
        digest.update(ByteBuffer.allocate(8).putLong(record.timestamp()).flip());
        digest.update((byte) (record.timestampType() == TimestampType.CREATE_TIME ? 0 : 1));
        bytes(digest, record.key());
        bytes(digest, record.value());
        for (Header header : record.headers()) {
            bytes(digest, header.key().getBytes(StandardCharsets.UTF_8));
            bytes(digest, header.value());
        }
    }

    private static void bytes(MessageDigest digest, byte[] bytes) {
        digest.update(ByteBuffer.allocate(4).putInt(bytes == null ? -1 : bytes.length).flip());
        if (bytes != null) digest.update(bytes);
    }

    // --- connections

    private static Consumer<byte[], byte[]> consumer(String bootstrap) {
        return consumer(bootstrap, "read_committed");
    }

    private static Consumer<byte[], byte[]> consumer(String bootstrap, String isolation) {
        return new KafkaConsumer<>(consuming(bootstrap, isolation, Map.of()));
    }

    private static Properties consuming(String bootstrap, String isolation, Map<String, String> more) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("key.deserializer", ByteArrayDeserializer.class.getName());
        settings.put("value.deserializer", ByteArrayDeserializer.class.getName());
        settings.put("isolation.level", isolation);
        settings.put("max.poll.records", "10000");
        settings.put("max.partition.fetch.bytes", Integer.toString(8 << 20));
        settings.put("allow.auto.create.topics", "false");
        settings.putAll(more);
        return settings;
    }

    private static List<TopicPartition> partitions(Consumer<?, ?> consumer, String topic) {
        List<PartitionInfo> found = consumer.partitionsFor(topic);
        if (found.isEmpty()) throw new IllegalArgumentException("there is no topic " + topic);
        return found.stream().map(each -> new TopicPartition(topic, each.partition()))
                .sorted(Comparator.comparing(TopicPartition::partition)).toList();
    }

    private static Admin admin(String bootstrap) {
        return ADMINS.computeIfAbsent(bootstrap, where -> Admin.create(Map.of("bootstrap.servers", where)));
    }

    private static TopicDescription awaitTopic(String bootstrap, String topic) throws Exception {
        for (int tries = 0; ; tries++) {
            try {
                TopicDescription found =
                        admin(bootstrap).describeTopics(List.of(topic)).allTopicNames().get().get(topic);
                if (tries > 100 || found.partitions().stream().allMatch(each -> each.leader() != null)) return found;
            } catch (ExecutionException e) {
                if (tries > 100) throw e;
            }
            Thread.sleep(100);
        }
    }

    /** KEY=VALUE, or KEY= for null. */
    private static Map<String, String> optional(String[] words) {
        Map<String, String> pairs = new LinkedHashMap<>();
        for (String word : words) {
            String[] pair = word.split("=", 2);
            pairs.put(pair[0], pair[1].isEmpty() ? null : pair[1]);
        }
        return pairs;
    }

    private static Map<String, String> pairs(List<String> words) {
        Map<String, String> made = new LinkedHashMap<>();
        for (String word : words) {
            int at = word.indexOf('=');
            if (at < 0) throw new IllegalArgumentException("'" + word + "' is not key=value");
            made.put(word.substring(0, at), word.substring(at + 1));
        }
        return made;
    }

    private static MessageDigest sha256() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (java.security.NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    private static String hex(MessageDigest digest) {
        StringBuilder text = new StringBuilder();
        for (byte each : digest.digest()) text.append(String.format("%02x", each));
        return text.substring(0, 32);
    }
}
