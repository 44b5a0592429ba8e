import java.util.*;
import java.util.concurrent.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;

/**
 * How far consumer groups' offsets on the target lag behind the source's. Groups commit on the source at set times, each every
 * so many seconds, whatever the answers do; all groups are asked for on the target again and again.
 *
 * <pre>GroupLag SOURCE TARGET TOPIC PARTITIONS GROUPS SECONDS EVERY_MS FROM</pre>
 *
 * FROM is the offset that is committed first; no group may have been there before, or nothing is measured.
 *
 * A lag goes from the moment when the commit was sent on the source to the moment when an answer of the target showed it; it
 * counts the time of asking. Prints one line a commit: when it was meant to be sent (ms since 1970), how late it was sent, how
 * long the source took, the lag (-1: never seen), all in ms; and, last, "asked N" with the number of rounds of asking.
 */
public final class GroupLag {
    private record Commit(String group, long offset, long meant, long sent, CompletableFuture<Long> acknowledged) {}

    private static final long SETTLE_MS = 20_000;

    public static void main(String[] args) throws Exception {
        String topic = args[2];
        int partitions = Integer.parseInt(args[3]);
        int groups = Integer.parseInt(args[4]);
        long seconds = Long.parseLong(args[5]);
        long everyMs = Long.parseLong(args[6]);
        long from = Long.parseLong(args[7]);
        try (Admin source = admin(args[0]); Admin target = admin(args[1])) {
            // What a group commits for the first time creates it; that is not what is measured.
            List<CompletableFuture<Long>> first = new ArrayList<>();
            for (int i = 0; i < groups; i++) {
                first.add(commit(source, name(i), topic, partitions, from));
                if (i % 50 == 49) CompletableFuture.allOf(first.toArray(CompletableFuture[]::new)).get();
            }
            Map<String, Long> seen = new HashMap<>();
            long until = System.currentTimeMillis() + SETTLE_MS * 3;
            look(target, topic, partitions, groups, seen);
            while (arrived(seen, from) < groups && System.currentTimeMillis() < until) {
                look(target, topic, partitions, groups, seen);
            }
            if (arrived(seen, from) < groups) {
                throw new IllegalStateException("only " + arrived(seen, from) + " groups came over");
            }
            if (seen.values().stream().anyMatch(offset -> offset > from)) {
                throw new IllegalStateException("some groups are further on already");
            }

            Queue<Commit> sent = new ConcurrentLinkedQueue<>();
            long begin = System.currentTimeMillis() + 500;
            Thread committer = new Thread(() -> {
                for (long at = 0; at < seconds * 1000 * groups / everyMs; at++) {
                    long meant = begin + at * everyMs / groups;
                    sleepUntil(meant);
                    String group = name((int) (at % groups));
                    long offset = from + 1 + at / groups;
                    long now = System.currentTimeMillis();
                    sent.add(new Commit(group, offset, meant, now, commit(source, group, topic, partitions, offset)));
                }
            });
            committer.start();
            List<Commit> open = new ArrayList<>();
            long rounds = 0;
            long end = begin + seconds * 1000 + SETTLE_MS;
            while (System.currentTimeMillis() < end && (committer.isAlive() || !open.isEmpty() || !sent.isEmpty())) {
                look(target, topic, partitions, groups, seen);
                rounds++;
                long now = System.currentTimeMillis();
                for (Commit each = sent.poll(); each != null; each = sent.poll()) open.add(each);
                open.removeIf(each -> {
                    if (seen.getOrDefault(each.group, 0L) < each.offset) return false;
                    tell(each, now - each.sent);
                    return true;
                });
            }
            open.forEach(each -> tell(each, -1));
            System.out.println("asked " + rounds);
        }
    }

    private static long arrived(Map<String, Long> seen, long from) {
        return seen.values().stream().filter(offset -> offset >= from).count();
    }

    /** The smallest offset of each group's partitions: the commit is there when all of them are. */
    private static void look(Admin target, String topic, int partitions, int groups, Map<String, Long> seen) throws Exception {
        Map<String, ListConsumerGroupOffsetsSpec> asked = new HashMap<>();
        for (int i = 0; i < groups; i++) asked.put(name(i), new ListConsumerGroupOffsetsSpec());
        target.listConsumerGroupOffsets(asked).all().get().forEach((group, offsets) -> {
            if (offsets.size() < partitions) return;
            seen.put(group, offsets.values().stream().mapToLong(OffsetAndMetadata::offset).min().orElse(0));
        });
    }

    private static CompletableFuture<Long> commit(Admin source, String group, String topic, int partitions, long offset) {
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        for (int i = 0; i < partitions; i++) offsets.put(new TopicPartition(topic, i), new OffsetAndMetadata(offset));
        return source.alterConsumerGroupOffsets(group, offsets).all().toCompletionStage().toCompletableFuture()
                .thenApply(done -> System.currentTimeMillis());
    }

    private static void tell(Commit commit, long lag) {
        long took = commit.acknowledged.getNow(-1L) - commit.sent;
        System.out.println(commit.meant + " " + (commit.sent - commit.meant) + " " + took + " " + lag);
    }

    private static String name(int group) {
        return "group-" + group;
    }

    private static Admin admin(String bootstrap) {
        return Admin.create(Map.of("bootstrap.servers", bootstrap));
    }

    private static void sleepUntil(long at) {
        long left = at - System.currentTimeMillis();
        try {
            if (left > 0) Thread.sleep(left);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }
}
