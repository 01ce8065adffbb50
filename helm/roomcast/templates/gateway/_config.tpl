{{/*
The gateway's configuration: gateway.config, and what the chart decides. In a pod "loopback" is the pod itself: what
the kubelet and other pods shall reach listens on every address. The operations port has no authentication in this
version, which the gateway wants to be told: it holds metrics and health only, and its Service stays in the cluster.
*/}}
{{- define "roomcast.gateway.toml" -}}
{{- $gateway := .Values.gateway -}}
{{- $insecure := $gateway.grpc.insecure -}}
{{- $open := include "roomcast.gateway.grpcOpen" . | eq "true" -}}
{{- $own := dict
      "client" (dict "listen" "0.0.0.0:3000")
      "grpc" (dict "enabled" $open "listen" (ternary "0.0.0.0:50051" "127.0.0.1:50051" $open) "insecure" $insecure)
      "ops" (dict "enabled" true "listen" "0.0.0.0:9000" "insecure" true)
-}}
{{- if include "roomcast.gateway.isClustered" . -}}
{{- $_ := set $own "cluster" (dict "listen" "0.0.0.0:7420") -}}
{{- $_ := set $own "node" (dict "secret_file" "/etc/roomcast-node/secret") -}}
{{- end -}}
{{- if $gateway.grpc.keysSecret -}}
{{- $_ := set $own.grpc "auth" (dict "keys_file" "/etc/roomcast-keys/keys.toml") -}}
{{- end -}}
{{- $config := mergeOverwrite (deepCopy $gateway.config) $own -}}
{{- include "roomcast.sections" (omit $config "namespaces") }}
{{- range $config.namespaces }}
[[namespaces]]
{{- range $key, $value := . }}
{{- if not (kindIs "invalid" $value) }}
{{ include "roomcast.tomlKey" $key }} = {{ include "roomcast.toml" $value }}
{{- end }}
{{- end }}
{{ end }}
{{- end -}}

{{/* Not empty when pods share an adapter. */}}
{{- define "roomcast.gateway.isClustered" -}}
{{- if ne (dig "adapter" "kind" "memory" .Values.gateway.config) "memory" }}yes{{ end -}}
{{- end -}}

{{/* Whether pods serve the publish API: with identities, or to everyone. */}}
{{- define "roomcast.gateway.grpcOpen" -}}
{{- or .Values.gateway.grpc.insecure (not (empty .Values.gateway.grpc.keysSecret)) -}}
{{- end -}}

{{/* What would not work although each value is allowed. */}}
{{- define "roomcast.gateway.check" -}}
{{- $gateway := .Values.gateway -}}
{{- $adapter := dig "adapter" "kind" "memory" $gateway.config -}}
{{- if and (gt (int $gateway.replicas) 1) (eq $adapter "memory") -}}
{{- fail (printf "gateway.replicas is %d: gateways with gateway.config.adapter.kind memory share nothing; allowed: 0 or 1" (int $gateway.replicas)) -}}
{{- end -}}
{{- if and (ne $adapter "memory") (not $gateway.cluster.secretName) -}}
{{- fail "gateway.cluster.secretName is empty: pods that share an adapter know each other by a key; allowed: the name of a Secret with 64 hex digits (openssl rand -hex 32)" -}}
{{- end -}}
{{- end -}}

{{/* Seconds from the end of readiness to SIGKILL: the pause, the deadline rounded up, and 5 s to exit in. */}}
{{- define "roomcast.gateway.graceSeconds" -}}
{{- $deadline := dig "shutdown" "deadline_ms" 30000 .Values.gateway.config | int -}}
{{- add (int .Values.gateway.preStopSeconds) (div (add $deadline 999) 1000) 5 -}}
{{- end -}}
