#!/bin/sh
# Prints the path of a Python >= 3.11, or nothing (exit 1). PYTHON names one to prefer.
for name in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python3.14 python; do
    # What the interpreter says of itself: a shim answers only in some directories, and an active environment may go away.
    found=$("$name" -c 'import sys; sys.version_info >= (3, 11) and print(sys._base_executable)' 2>/dev/null) || continue
    if [ -n "$found" ]; then
        printf '%s\n' "$found"
        exit 0
    fi
done
exit 1
