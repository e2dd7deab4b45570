#!/usr/bin/env python3
"""Judges what the members of a group have logged, and tries itself on planted logs.

    check.py FOLDER RECORDS SESSION_MS    the logs FOLDER/*.log, one for each process; prints what they show
    check.py --self-test                  logs with one fault each have to be refused

A line is the wall clock in microseconds and one of
    assigned PARTITION...    revoked PARTITION...    lost PARTITION...    callbacks, the second as it ends
    record PARTITION OFFSET NUMBER                    as it is processed
    committing PARTITION:OFFSET...                    as the commit is sent
    commit PARTITION:OFFSET...                        as it is answered without an error
    left                                              the last line of a clean end
    killed                                            written by who killed the process; the line before may be cut off
"""

import pathlib
import sys
import time
from collections import Counter, defaultdict

# A killed member has sent its last heartbeat at most so long before: an interval of 1 s, and what the machine delays.
HEARTBEAT_MS = 2000


class Log:
    """What a member in Python writes."""

    def __call__(self, *words):
        sys.stdout.write(" ".join(map(str, (time.time_ns() // 1000, *words))) + "\n")

    def flush(self):
        sys.stdout.flush()

    def offsets(self, word, offsets):
        self(word, *(f"{partition}:{offset}" for partition, offset in sorted(offsets.items())))
        self.flush()


def read(text):
    """The lines as (time, word, numbers), a commit's numbers being pairs."""
    lines = text.split("\n")
    if len(lines) > 2 and lines[-2].endswith(" killed") and lines[-3]:
        del lines[-3]
    for line in filter(None, lines):
        at, word, *rest = line.split(" ")
        yield int(at), word, [tuple(map(int, one.split(":"))) if ":" in one else int(one) for one in rest if one]


def judge(logs, records, session_ms):
    """Returns the faults found in `logs`, texts by name, and what they show: seen, seen again, hand-outs of partitions."""
    faults, seen, places, handed_out = [], Counter(), {}, 0
    events = []  # of all processes, in order of time
    for name, text in sorted(logs.items()):
        ended = False
        for place, (at, word, rest) in enumerate(read(text)):
            events.append((at, place, name, word, rest))
            ended = word in ("left", "killed")
        if not ended:
            faults.append(f"{name} has ended by itself")
    events.sort(key=lambda event: event[:2])
    owner, killed = {}, {}  # by partition; the second: (who, since when)
    answered, open_attempts = {}, defaultdict(set)  # by partition: what is committed, what may be
    resumes = set()  # (name, partition) whose first record is still to come
    for at, _, name, word, rest in events:
        if word == "assigned":
            handed_out += 1
            for partition in rest:
                other = owner.get(partition)
                if other not in (None, name):
                    faults.append(f"{at}: {partition} is assigned to {name} while {other} owns it")
                dead, since = killed.pop(partition, (None, 0))
                if dead and at < since + 1000 * (session_ms - HEARTBEAT_MS):
                    faults.append(f"{at}: {partition} goes to {name} {(at - since) // 1000} ms after the death of {dead}, within its session")
                if other != name:
                    resumes.add((name, partition))
                owner[partition] = name
        elif word in ("revoked", "lost"):
            for partition in rest:
                if owner.get(partition) == name:
                    del owner[partition]
        elif word in ("left", "killed"):
            for partition in [one for one in owner if owner[one] == name]:
                del owner[partition]
                if word == "killed":
                    killed[partition] = (name, at)
        elif word == "record":
            partition, offset, number = rest
            seen[number] += 1
            if owner.get(partition) != name:
                faults.append(f"{at}: {name} sees {partition}:{offset}, owned by {owner.get(partition)}")
            if places.setdefault((partition, offset), number) != number:
                faults.append(f"{at}: {partition}:{offset} is record {number}, was {places[partition, offset]}")
            if (name, partition) in resumes:
                resumes.discard((name, partition))
                allowed = {answered.get(partition, 0)} | open_attempts[partition]
                if offset not in allowed:
                    faults.append(f"{at}: {name} resumes {partition} at {offset}, committed is {sorted(allowed)}")
        elif word == "committing":
            for partition, offset in rest:
                open_attempts[partition].add(offset)
        elif word == "commit":
            for partition, offset in rest:
                answered[partition] = offset
                open_attempts[partition] = {one for one in open_attempts[partition] if one > offset}
    missing = [number for number in range(1, records + 1) if number not in seen]
    if missing:
        faults.append(f"{len(missing)} records were never seen, the first of them {missing[:5]}")
    again = sum(seen.values()) - len(seen)
    return faults, (len(seen), again, handed_out)


SOUND = {
    "a.1": "0 assigned 0 1\n1 record 0 0 1\n2 committing 0:1\n3 commit 0:1\n4 record 1 0 2\n10 revoked 1\n50 record 0 1 3\n\n60 killed\n",
    "b.1": "5 assigned\n11 assigned 1\n12 record 1 0 2\n13 committing 1:1\n14 commit 1:1\n9000000 assigned 0\n9000001 record 0 1 3\n9000002 left\n",
}


def self_test():
    plants = {  # a fault: the log, what is replaced, by what
        "never seen": ("b.1", "12 record 1 0 2\n", ""),
        "while a.1 owns it": ("a.1", "10 revoked 1\n", ""),
        "within its session": ("b.1", "9000000 assigned", "61 assigned"),
        "resumes 0 at 2": ("b.1", "record 0 1 3", "record 0 2 4"),
        "resumes 0 at 0": ("b.1", "record 0 1 3", "record 0 0 1"),
        "owned by None": ("b.1", "11 assigned 1\n", ""),
        "is record 9": ("b.1", "record 0 1 3", "record 0 1 9"),
        "ended by itself": ("b.1", "9000002 left\n", ""),
    }
    assert judge({**SOUND, "a.1": SOUND["a.1"].replace("4 record 1 0 2\n", "")}, 3, 6000) == ([], (3, 1, 4)), judge(SOUND, 3, 6000)
    assert judge(SOUND, 3, 6000) == ([], (3, 2, 4)), judge(SOUND, 3, 6000)
    for fault, (log, old, new) in plants.items():
        logs = {**SOUND, log: SOUND[log].replace(old, new)}
        if fault == "never seen":
            logs["a.1"] = logs["a.1"].replace("4 record 1 0 2\n", "")
        faults, _ = judge(logs, 3, 6000)
        assert logs != SOUND and any(fault in one for one in faults), f"planted '{fault}', found {faults}"


if __name__ == "__main__":
    if sys.argv[1:] == ["--self-test"]:
        self_test()
    else:
        folder, records, session_ms = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
        logs = {file.stem: file.read_text() for file in folder.glob("*.log")}
        faults, shown = judge(logs, records, session_ms)
        print(*shown)
        for fault in faults[:20]:
            print(fault, file=sys.stderr)
        sys.exit(bool(faults))
