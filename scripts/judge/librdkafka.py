"""Creates a topic, produces (idempotent, zstd) and reads it back in a consumer group, by librdkafka. Argument: HOST:PORT."""

import sys

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

RECORDS = 20_000


def main(bootstrap):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for done in admin.create_topics([NewTopic("librdkafka", 3, 1)]).values():
        done.result(20)

    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "compression.type": "zstd", "linger.ms": 5})
    failures = []
    sent = set()
    for number in range(RECORDS):
        value = f"value {number}".encode()
        sent.add(value)
        producer.produce("librdkafka", value, key=str(number), headers={"n": str(number)},
                         on_delivery=lambda error, _: error and failures.append(error))
        producer.poll(0)
    assert producer.flush(30) == 0 and not failures, failures

    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "librdkafka", "auto.offset.reset": "earliest"})
    consumer.subscribe(["librdkafka"])
    read = []
    while len(read) < RECORDS:
        some = consumer.consume(1000, timeout=20)
        assert some, f"only {len(read)} records came"
        for record in some:
            assert record.error() is None, record.error()
            read.append(record.value())
    assert len(read) == len(set(read)) == RECORDS and set(read) == sent
    consumer.commit(asynchronous=False)
    consumer.close()


main(sys.argv[1])
