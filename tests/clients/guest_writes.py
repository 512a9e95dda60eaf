"""Runs inside a guest: writes at random, syncs now and then, and tells what has been synced, until the power goes.

`guest_writes.py FOLDER SEED`. Each line on its output is one JSON object, printed after a sync has returned: the version
of every slot of the file that is overwritten in place, and how many records each file has to which is only added.
"""

import json
import os
import random
import sys

SLOT_BYTES = 4096
SLOTS = 600
FILES = 12


def slot(number, version):
    """What a slot holds after so many writes."""
    head = number.to_bytes(8, "big") + version.to_bytes(8, "big")
    return head + random.Random(f"{number}/{version}").randbytes(SLOT_BYTES - len(head))


def record(file, number):
    """A record of a file that is added to: its length follows from its name."""
    chance = random.Random(f"{file}:{number}")
    return chance.randbytes(chance.randrange(10, 9000))


def main():
    folder, seed = sys.argv[1:]
    chance = random.Random(int(seed))
    versions, counts = [0] * SLOTS, [0] * FILES
    slots = os.open(f"{folder}/slots", os.O_RDWR | os.O_CREAT)
    os.pwrite(slots, b"".join(slot(number, 0) for number in range(SLOTS)), 0)
    files = [os.open(f"{folder}/added{file}", os.O_WRONLY | os.O_CREAT) for file in range(FILES)]
    os.sync()
    while True:
        for _ in range(chance.randrange(1, 60)):
            if chance.random() < 0.6:
                number = chance.randrange(SLOTS)
                versions[number] += 1
                os.pwrite(slots, slot(number, versions[number]), number * SLOT_BYTES)
            else:
                file = chance.randrange(FILES)
                os.write(files[file], record(file, counts[file]))
                counts[file] += 1
        if chance.random() < 0.5:
            os.sync()
        else:
            for file in [slots, *files]:
                os.fsync(file)
        print(json.dumps({"versions": versions, "counts": counts}), flush=True)


if __name__ == "__main__":
    main()
