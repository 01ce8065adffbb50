#!/usr/bin/env bash
# Renders the chart, and asks gateway and publisher themselves about the configurations that the chart writes.
#
# ROOMCAST_GATEWAY names the binary; roomcast-publisher is beside it. Helm is taken from PATH or .tools, or installed into .tools by `go install`.
# The last line is `N passed, N failed`; the exit code is 0 when nothing failed.
set -euo pipefail

HELM_MODULE=helm.sh/helm/v3/cmd/helm@v3.22.0
# What the chart is rendered for: Helm built by `go install` takes itself for one of an old Kubernetes.
KUBERNETES=1.34.0

root=$(cd "$(dirname "$0")/../.." && pwd)
chart=$root/helm/roomcast
override=$root/tests/chart/override.yaml
several=$root/tests/chart/cluster.yaml
publishers=$root/tests/chart/publisher.yaml
PATH=$root/.tools:$PATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

passed=0
failed=0

# check CLAIM COMMAND...: runs the command, and shows what it said only if it failed.
check() {
  local claim=$1
  shift
  if "$@" >"$work/output" 2>&1; then
    echo "ok: $claim"
    passed=$((passed + 1))
  else
    echo "FAILED: $claim"
    sed 's/^/    /' "$work/output"
    failed=$((failed + 1))
  fi
}

finish() {
  echo "$passed passed, $failed failed"
  [ "$failed" -eq 0 ]
  exit
}

install_helm() {
  if ! command -v go >/dev/null; then
    echo "neither helm nor go is installed: install helm 3, or Go, which builds it"
    return 1
  fi
  mkdir -p "$root/.tools"
  GOBIN=$root/.tools go install "$HELM_MODULE"
}

gateway_is_named() {
  if [ ! -x "${ROOMCAST_GATEWAY:-}" ]; then
    echo "set ROOMCAST_GATEWAY to the binary (cargo build --package roomcast-gateway)"
    return 1
  fi
  publisher=$(dirname "$ROOMCAST_GATEWAY")/roomcast-publisher
  [ -x "$publisher" ] || { echo "no $publisher (cargo build --package roomcast-publisher)"; return 1; }
}

# file NAME OF: what the ConfigMap in NAME.yaml holds as OF.toml.
file() {
  awk -v begin="^  $2\\\\.toml: \\\\|" '
    $0 ~ begin { inside = 1; next }
    inside && !/^    / && NF { inside = 0 }
    inside { print substr($0, 5) }
  ' "$work/$1.yaml"
}

# render NAME ARGUMENT...: NAME.yaml, and the files of it, NAME.toml of the gateway and NAME-publisher.toml.
render() {
  local name=$1
  shift
  helm template release "$chart" --kube-version "$KUBERNETES" "$@" >"$work/$name.yaml" || return
  file "$name" gateway >"$work/$name.toml"
  file "$name" publisher >"$work/$name-publisher.toml"
  [ -s "$work/$name.toml" ] || { echo "no gateway.toml in what was rendered"; return 1; }
}

# The gateway, without what the environment of this script says.
gateway() {
  env -i "$ROOMCAST_GATEWAY" "$@"
}

# in_force NAME SECTION: the lines of one section of the configuration in force.
in_force() {
  gateway print-config ${1:+--config "$work/$1.toml"} |
    awk -v section="[$2]" '/^\[/ { inside = $0 == section; next } inside && NF'
}

has() {
  grep --fixed-strings --line-regexp -- "$2" <<<"$1" >/dev/null || { echo "not there: $2"; echo "$1"; return 1; }
}

# The numbers of the chart are those of the gateway.
shutdown_is_the_default() {
  diff <(in_force "" shutdown) <(in_force default shutdown)
}

# grace_exceeds_deadline NAME
grace_exceeds_deadline() {
  local grace deadline
  grace=$(awk '/terminationGracePeriodSeconds:/ { print $2 }' "$work/$1.yaml")
  deadline=$(in_force "$1" shutdown | awk '$1 == "deadline_ms" { print $3 }')
  echo "terminationGracePeriodSeconds $grace, deadline_ms $deadline"
  [ $((grace * 1000)) -gt "$deadline" ]
}

publish_api_is() {
  has "$(in_force "$1" grpc)" "enabled = $2"
}

only_clients_leave_the_cluster() {
  local ports
  ports=$(awk '/^---/ { outside = 0 } /^  type: LoadBalancer/ { outside = 1 } outside && /^    - name:/ { print $3 }' \
    "$work/override.yaml")
  echo "ports of the LoadBalancer: $ports"
  [ "$ports" = client ]
}

# The key comes from the Secret: the gateway takes the rest of the configuration with any key in its place.
several_gateways_are_a_cluster() {
  printf '%064d' 0 >"$work/secret"
  sed "s#/etc/roomcast-node/secret#$work/secret#" "$work/several.toml" >"$work/clustered.toml"
  gateway check-config --config "$work/clustered.toml" || return
  has "$(in_force clustered cluster)" 'listen = "0.0.0.0:7420"' || return
  grep --quiet "secretName: roomcast-node" "$work/several.yaml" && grep --quiet "key: sid-key" "$work/several.yaml"
}

# The key files come from the Secret: the publisher takes the rest of the configuration with any in their place.
publishers_are_in_front_of_the_gateways_redis() {
  "$publisher" generate-key orders >"$work/keys.toml" || return
  sed "s#/etc/roomcast-keys/keys.toml#$work/keys.toml#" "$work/publishers-publisher.toml" >"$work/checked.toml"
  env -i "$publisher" check-config --config "$work/checked.toml" || return
  local adapter
  adapter=$(env -i "$publisher" print-config --config "$work/checked.toml")
  has "$adapter" 'kind = "redis-sharded"' && has "$adapter" 'prefix = "chat"' || return
  has "$adapter" 'url = "redis+cluster://redis:6379"'
}

publishers_have_time() {
  local grace
  grace=$(awk '
    /^---/ { inside = 0 }
    /component: publisher/ { inside = 1 }
    inside && /terminationGracePeriodSeconds:/ { print $2; exit }
  ' "$work/publishers.yaml")
  echo "terminationGracePeriodSeconds $grace"
  [ "$grace" -eq 31 ]
}

there_are_no_publishers() {
  ! grep --quiet publisher "$work/$1.yaml"
}

# refuses ARGUMENT...: whether the chart does not render, for a reason that names what was set.
refuses() {
  local name=$1
  if helm template release "$chart" --kube-version "$KUBERNETES" --set "$2" >"$work/refused" 2>&1; then
    echo "rendered with $2"
    return 1
  fi
  grep --fixed-strings -- "$name" "$work/refused"
}

command -v helm >/dev/null || check "helm can be installed" install_helm
check "ROOMCAST_GATEWAY is a binary" gateway_is_named
[ "$failed" -eq 0 ] || finish

check "the chart has no fault with default values" helm lint --strict --kube-version "$KUBERNETES" "$chart"
check "the chart has no fault with other values" \
  helm lint --strict --kube-version "$KUBERNETES" --values "$override" "$chart"
check "the default values render" render default
check "other values render" render override --values "$override"
check "several gateways render" render several --values "$several"
check "publishers render" render publishers --values "$publishers"
[ "$failed" -eq 0 ] || finish

for name in default override; do
  check "the gateway takes the configuration ($name)" gateway check-config --config "$work/$name.toml"
  check "a pod is not killed before its deadline ($name)" grace_exceeds_deadline "$name"
done
check "the chart's shutdown is the gateway's default" shutdown_is_the_default
check "the publish API is closed by default" publish_api_is default false
check "the publish API opens when it is called insecure" publish_api_is override true
check "only the client port leaves the cluster" only_clients_leave_the_cluster
check "several gateways without a shared adapter are refused" refuses "gateway.replicas is 2" gateway.replicas=2
check "several gateways that share an adapter are a cluster" several_gateways_are_a_cluster
check "gateways that share an adapter without a key are refused" \
  refuses "gateway.cluster.secretName is empty" gateway.config.adapter.kind=redis
check "there are no publishers by default" there_are_no_publishers default
check "publishers are in front of the gateways' Redis" publishers_are_in_front_of_the_gateways_redis
check "a publisher's pod is not killed before its deadline" publishers_have_time
check "publishers of gateways that share nothing are refused" \
  refuses "gateway.config.adapter.kind is memory" publisher.enabled=true
check "publishers that ask nobody who calls are refused" refuses "publisher.grpc.keysSecret is empty" \
  publisher.enabled=true,publisher.config.adapter.kind=redis
check "keys that are the chart's own are refused" refuses "/gateway/config" gateway.config.ops.insecure=true
check "values that do not exist are refused" refuses "nosuch" gateway.nosuch=1
finish
