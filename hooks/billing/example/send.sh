#!/bin/sh
# Sends one event: send.sh WEBHOOK_ID < event.json
#
# Ends with 0 (accepted), 1 (refused: a person must look) or 2 (no clear answer: run it again later, same id).
# Reads PROVISIONER_URL, and PROVISIONER_SECRET or the file that PROVISIONER_SECRET_FILE names.
# Needs curl and openssl. The key is in no command's arguments, which everybody on the machine could read: so the
# HMAC (RFC 2104) is made of plain SHA-256 here.
set -eu
umask 077

tries=4
timeout_s=10
wait_s=${PROVISIONER_WAIT:-1} # doubles from try to try

hex() {
    od -An -v -tx1 | tr -d ' \n'
}

# The key in 64 bytes, each XORed with $1.
padded_key() {
    rest=$key
    count=0
    while [ "$count" -lt 64 ]; do
        byte=0
        if [ -n "$rest" ]; then
            byte=0x${rest%"${rest#??}"}
            rest=${rest#??}
        fi
        byte=$((byte ^ $1))
        # shellcheck disable=SC2059 # the format is the byte
        printf "\\$((byte >> 6))$((byte >> 3 & 7))$((byte & 7))"
        count=$((count + 1))
    done
}

# The signature's base64 for the message of id $1 and time $2.
signature() {
    {
        padded_key 0x5c
        { padded_key 0x36 && printf '%s.%s.' "$1" "$2" && cat "$folder/body"; } | openssl dgst -sha256 -binary
    } | openssl dgst -sha256 -binary | openssl base64 -A
}

# One try; prints the status, 000 where no answer came.
post() {
    now=$(date +%s)
    curl --disable --silent --output "$folder/answer" --write-out '%{http_code}' --noproxy '*' --max-time "$timeout_s" \
        --header 'Content-Type: application/json' --header "webhook-id: $1" --header "webhook-timestamp: $now" \
        --header "webhook-signature: v1,$(signature "$1" "$now")" --data-binary "@$folder/body" \
        "$PROVISIONER_URL" || :
}

if [ $# -ne 1 ]; then
    echo "send.sh WEBHOOK_ID < event.json" >&2
    exit 1
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/body"

# The newest secret: there may be older ones after it.
if [ -n "${PROVISIONER_SECRET_FILE:-}" ]; then
    PROVISIONER_SECRET=$(cat "$PROVISIONER_SECRET_FILE")
fi
secret=${PROVISIONER_SECRET%%[[:space:]]*}
key=$(printf %s "${secret#whsec_}" | openssl base64 -d -A | hex)
if [ "${secret#whsec_}" = "$secret" ] || [ ${#key} -lt 48 ]; then
    echo "a secret is whsec_ and the base64 of at least 24 bytes" >&2
    exit 1
fi
if [ ${#key} -gt 128 ]; then
    key=$(printf %s "${secret#whsec_}" | openssl base64 -d -A | openssl dgst -sha256 -binary | hex)
fi

number=0
while [ "$number" -lt "$tries" ]; do
    if [ "$number" -gt 0 ]; then
        sleep "$wait_s"
        wait_s=$(awk "BEGIN { print $wait_s * 2 }")
    fi
    : >"$folder/answer"
    status=$(post "$1")
    case $status in
        2??)
            cat "$folder/answer"
            exit 0
            ;;
        000 | 408 | 425 | 429 | 5??) echo "$status $(cat "$folder/answer")" >&2 ;;
        *)
            echo "$status $(cat "$folder/answer")" >&2
            exit 1
            ;;
    esac
    number=$((number + 1))
done
exit 2
