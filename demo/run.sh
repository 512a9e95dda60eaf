#!/usr/bin/env bash
# The whole life of an image, with the unmodified aws cli and with guests that really boot.
#
# Exits 0 only if every step did what it says. The server stays running at the end; DEMO_KEEP=0 stops
# everything. LISTEN (127.0.0.1:4566) is where it listens.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=demo/lib.sh
. demo/lib.sh

LISTEN=${LISTEN:-127.0.0.1:4566}
HERE=$PWD/target/demo
DATA=$HERE/data
KATAGAMI=${KATAGAMI:-$PWD/target/release/katagami}
KEY=$HERE/demo.pem
USER_DATA=$HERE/user-data.sh
PATH=$PWD/target/venv/bin:$PATH
export AWS_ENDPOINT_URL=http://$LISTEN AWS_SHARED_CREDENTIALS_FILE=$DATA/credentials AWS_CONFIG_FILE=/dev/null
export AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1 AWS_PAGER='' AWS_EC2_METADATA_DISABLED=true
unset AWS_PROFILE AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN

set_up() {
  scripts/setup-system.sh build guests clients
  scripts/setup-disk.sh
  scripts/setup-python.sh
  [ "$KATAGAMI" != "$PWD/target/release/katagami" ] || cargo build -q --release --locked -p katagami
}

healthy() { curl -sf -o /dev/null --max-time 2 "$AWS_ENDPOINT_URL/_katagami/health"; }

start_server() {
  [ ! -f "$HERE/server.pid" ] || ! kill -0 "$(cat "$HERE/server.pid")" 2>/dev/null || fail "a server runs already"
  setsid "$KATAGAMI" serve --data "$DATA" --listen "$LISTEN" >>"$HERE/server.log" 2>&1 </dev/null &
  echo $! > "$HERE/server.pid"
  until_true 20 "the server is healthy" healthy
}

# machines: the processes of instances of this demo.
machines() { pgrep -f "katagami machine .*$DATA/" || pgrep -f "qemu-system-x86_64 .*$DATA/" || true; }

stop_all() {
  local pid
  if healthy; then
    instances=$(aws ec2 describe-instances --query 'Reservations[].Instances[?State.Name!=`terminated`].InstanceId[]' --output text 2>/dev/null || true)
    # shellcheck disable=SC2086
    [ -z "$instances" ] || aws ec2 terminate-instances --instance-ids $instances >/dev/null 2>&1 || true
    # shellcheck disable=SC2086
    [ -z "$instances" ] || aws ec2 wait instance-terminated --instance-ids $instances 2>/dev/null || true
  fi
  pid=$(cat "$HERE/server.pid" 2>/dev/null || true)
  if [ -n "$pid" ] && kill "$pid" 2>/dev/null; then while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done; fi
  rm -f "$HERE/server.pid"
}

# address INSTANCE: sets ADDRESS and PORT, where its ssh is reached.
address() {
  local host
  host=$("$KATAGAMI" forwards "$1" | awk '$1 == 22 { print $2 }')
  ADDRESS=${host%:*} PORT=${host##*:}
  [ -n "$ADDRESS" ] || fail "no way to port 22 of $1"
}

# guest INSTANCE COMMAND: runs a command in the guest by ssh.
guest() {
  address "$1"
  ssh -i "$KEY" -p "$PORT" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR \
    -o ConnectTimeout=5 -o BatchMode=yes "debian@$ADDRESS" "$2"
}

show_guest() { printf '\n%s%s$ %s%s\n' "$bold" "$1" "$2" "$plain"; ANSWER=$(guest "$1" "$2" 2>&1) || fail "in the guest: $ANSWER"; printf '%s\n' "$ANSWER" | sed 's/^/   /'; }

ssh_works() { guest "$1" true 2>/dev/null; }

# launch VARIABLE IMAGE OPTIONS...: runs an instance and waits until it says that it is well.
launch() {
  local variable=$1 image=$2; shift 2
  run aws ec2 run-instances --image-id "$image" --instance-type t3.small --key-name demo \
    --security-group-ids "$GROUP" "$@"
  printf -v "$variable" '%s' "$(answer '.Instances[0].InstanceId')"
  SHOW_LINES=2 run aws ec2 wait instance-running --instance-ids "${!variable}"
  until_true 300 "ssh to ${!variable}" ssh_works "${!variable}"
}

# end_machines: those that an earlier, interrupted demo left; each process is told apart by this demo's folder.
end_machines() {
  local pid
  for pid in $(machines); do kill "$pid" 2>/dev/null || true; done
  for _ in $(seq 100); do [ -n "$(machines)" ] || return 0; sleep 0.1; done
  for pid in $(machines); do kill -9 "$pid" 2>/dev/null || true; done
}

prepare() {
  mkdir -p "$HERE"
  stop_all
  end_machines
  rm -rf "$DATA" "$KEY" "$HERE/server.log"
  printf '#!/bin/sh\necho "user data ran" > /etc/demo-user-data\n' > "$USER_DATA"
}

step "set up, and build the release"
set_up
prepare

step "1 make a Debian disk"
DISK=$(demo/make-disk.sh)
run ls -lsh "$DISK"

step "start the server"
start_server
run aws sts get-caller-identity

step "2 push the disk: it becomes an image"
printf '\n%s$ katagami push %s --name debian-12%s\n' "$bold" "$DISK" "$plain"
IMAGE=$("$KATAGAMI" push "$DISK" --name debian-12) || fail "push"
printf '   %s\n' "$IMAGE"
SHOW_LINES=40 run aws ec2 describe-images --image-ids "$IMAGE"

step "3 run an instance"
run aws ec2 create-key-pair --key-name demo --key-type ed25519 --query KeyMaterial --output text
(umask 077; printf '%s\n' "$ANSWER" > "$KEY")
run aws ec2 create-security-group --group-name ssh --description "ssh from everywhere" --query GroupId --output text
GROUP=$ANSWER
run aws ec2 authorize-security-group-ingress --group-id "$GROUP" --protocol tcp --port 22 --cidr 0.0.0.0/0
SHOW_LINES=30 launch FIRST "$IMAGE" --user-data "file://$USER_DATA" --block-device-mappings \
  'DeviceName=/dev/sdf,Ebs={VolumeSize=1,DeleteOnTermination=true}'
SHOW_LINES=2 run aws ec2 wait instance-status-ok --instance-ids "$FIRST"

step "4 in the guest"
run aws ec2 describe-instances --instance-ids "$FIRST" --query 'Reservations[].Instances[].[InstanceId,State.Name,PublicIpAddress,PrivateIpAddress]' --output text
show_guest "$FIRST" 'cloud-init status --wait >/dev/null; hostname; cat /etc/demo-user-data; curl -s http://169.254.169.254/latest/meta-data/instance-id'
check "cloud-init ran the user data" grep -q "user data ran" <<<"$ANSWER"
check "the metadata service knows the instance" grep -q "$FIRST" <<<"$ANSWER"
show_guest "$FIRST" 'sudo apt-get -qq update && sudo apt-get -qq -y install --no-install-recommends hello >/dev/null 2>&1; hello || true'
check "a package was installed over the guest's network" grep -qi "hello, world" <<<"$ANSWER"
show_guest "$FIRST" 'disk=/dev/$(lsblk -dno NAME,SIZE | awk "\$2 == \"1G\" { print \$1 }"); sudo mkfs.ext4 -q "$disk"; sudo mount "$disk" /mnt; echo "on the data volume" | sudo tee /mnt/note; sync; lsblk'
run aws ec2 get-console-output --instance-id "$FIRST" --latest --query Output --output text
check "the console shows the boot" grep -q "Linux version" <<<"$ANSWER"

step "5 make images of it: after a shutdown, and live"
run aws ec2 create-image --instance-id "$FIRST" --name with-hello --query ImageId --output text
SECOND_IMAGE=$ANSWER
SHOW_LINES=2 run aws ec2 wait image-available --image-ids "$SECOND_IMAGE"
until_true 300 "the instance is back" ssh_works "$FIRST"
show_guest "$FIRST" 'echo "written live" | sudo tee /etc/live; sync'
run aws ec2 create-image --instance-id "$FIRST" --name live --no-reboot --query ImageId --output text
LIVE_IMAGE=$ANSWER
SHOW_LINES=2 run aws ec2 wait image-available --image-ids "$LIVE_IMAGE"
launch SECOND "$LIVE_IMAGE"
show_guest "$SECOND" 'hello; cat /etc/live; disk=/dev/$(lsblk -dno NAME,SIZE | awk "\$2 == \"1G\" { print \$1 }"); sudo mount "$disk" /mnt; cat /mnt/note'
for said in "Hello, world" "written live" "on the data volume"; do
  check "the new instance has: $said" grep -qi "$said" <<<"$ANSWER"
done

step "6 copy it to another region, and share it"
run aws --region us-west-2 ec2 copy-image --name debian-12 --source-region us-east-1 --source-image-id "$LIVE_IMAGE" --query ImageId --output text
COPY=$ANSWER
SHOW_LINES=2 run aws --region us-west-2 ec2 wait image-available --image-ids "$COPY"
run "$KATAGAMI" account create alice --data "$DATA"
ALICE=$(grep -oE '[0-9]{12}' <<<"$ANSWER" | head -n 1)
run "$KATAGAMI" account create mallory --data "$DATA"
run aws ec2 modify-image-attribute --image-id "$SECOND_IMAGE" --launch-permission "Add=[{UserId=$ALICE}]"
run aws --profile alice ec2 describe-images --executable-users self --query 'Images[].[ImageId,OwnerId,Name]' --output text
check "alice sees it" grep -q "$SECOND_IMAGE" <<<"$ANSWER"
run aws --profile alice ec2 run-instances --image-id "$SECOND_IMAGE" --instance-type t3.small --query 'Instances[0].InstanceId' --output text
ALICES=$ANSWER
SHOW_LINES=2 run aws --profile alice ec2 wait instance-running --instance-ids "$ALICES"
refused InvalidAMIID.NotFound aws --profile mallory ec2 describe-images --image-ids "$SECOND_IMAGE"
refused InvalidAMIID.NotFound aws --profile mallory ec2 run-instances --image-id "$SECOND_IMAGE" --instance-type t3.small
run aws --profile alice ec2 terminate-instances --instance-ids "$ALICES"

step "7 deregister an image whose instance runs"
run aws ec2 describe-images --image-ids "$LIVE_IMAGE" --query 'Images[0].BlockDeviceMappings[0].Ebs.SnapshotId' --output text
SNAPSHOT=$ANSWER
refused InvalidSnapshot.InUse aws ec2 delete-snapshot --snapshot-id "$SNAPSHOT"
run aws ec2 deregister-image --image-id "$LIVE_IMAGE"
refused InvalidAMIID aws ec2 run-instances --image-id "$LIVE_IMAGE" --instance-type t3.small
run aws ec2 delete-snapshot --snapshot-id "$SNAPSHOT"
show_guest "$SECOND" 'uptime; sudo md5sum /usr/bin/* | tail -n 1'

step "8 kill -9 the server while guests run"
printf '\n%s$ kill -9 %s%s\n' "$bold" "$(cat "$HERE/server.pid")" "$plain"
kill -9 "$(cat "$HERE/server.pid")"
while kill -0 "$(cat "$HERE/server.pid")" 2>/dev/null; do sleep 0.05; done
BEFORE=$PORT
show_server_gone() { ! healthy; }
check "the server is gone" show_server_gone
ANSWER=$(ssh -i "$KEY" -p "$BEFORE" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR "debian@$ADDRESS" uptime -p) || fail "the guest is gone"
printf '   the guest says: %s\n' "$ANSWER"
start_server
run aws ec2 describe-instances --instance-ids "$SECOND" --query 'Reservations[].Instances[].State.Name' --output text
check "the new server knows that it runs" test "$ANSWER" = running
run aws ec2 terminate-instances --instance-ids "$SECOND"
SHOW_LINES=2 run aws ec2 wait instance-terminated --instance-ids "$SECOND"
gone() { ! pgrep -f "$SECOND" >/dev/null && [ ! -e "$DATA/machines/$SECOND" ]; }
until_true 30 "no process and no file of it is left" gone

table
if [ "${DEMO_KEEP:-1}" = 0 ]; then
  stop_all
  [ -z "$(machines)" ] || fail "left behind: $(machines | tr '\n' ' ')"
  printf '\nEverything is stopped.\n'
else
  address "$FIRST"
  cat <<PASTE

The server goes on (stop it with: kill $(cat "$HERE/server.pid")). Three lines to paste:

export PATH=$PWD/target/venv/bin:\$PATH AWS_ENDPOINT_URL=$AWS_ENDPOINT_URL AWS_SHARED_CREDENTIALS_FILE=$AWS_SHARED_CREDENTIALS_FILE AWS_REGION=us-east-1
aws ec2 describe-images --owners self --query 'Images[].[ImageId,Name,State]' --output table
ssh -i $KEY -p $PORT -o UserKnownHostsFile=/dev/null debian@$ADDRESS
PASTE
fi
