#!/bin/sh
# Prints the path of a Chromium or Chrome, or nothing (exit 1). HEADRACE_TEST_CHROMIUM names one to prefer.
for name in \
    ${HEADRACE_TEST_CHROMIUM:-} chromium chromium-browser google-chrome google-chrome-stable \
    /Applications/Chromium.app/Contents/MacOS/Chromium
do
    if command -v "$name" 2>/dev/null; then exit 0; fi
done
mac='/Applications/Google Chrome.app/Contents/MacOS/Google Chrome'
if [ -x "$mac" ]; then
    printf '%s\n' "$mac"
    exit 0
fi
exit 1
