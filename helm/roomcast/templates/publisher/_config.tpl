{{/*
The publisher's configuration: the gateways' adapter and Redis, publisher.config over them, and what the chart decides
(see gateway/_config.tpl for why).
*/}}
{{- define "roomcast.publisher.toml" -}}
{{- $publisher := .Values.publisher -}}
{{- $own := dict
      "grpc" (dict "listen" "0.0.0.0:50051" "insecure" $publisher.grpc.insecure)
      "ops" (dict "enabled" true "listen" "0.0.0.0:9000" "insecure" true)
-}}
{{- if $publisher.grpc.keysSecret -}}
{{- $_ := set $own.grpc "auth" (dict "keys_file" "/etc/roomcast-keys/keys.toml") -}}
{{- end -}}
{{- $shared := pick .Values.gateway.config "adapter" "redis" -}}
{{- include "roomcast.sections" (mergeOverwrite (deepCopy $shared) (deepCopy $publisher.config) $own) }}
{{- end -}}

{{/* What would not work although each value is allowed. */}}
{{- define "roomcast.publisher.check" -}}
{{- $adapter := dig "adapter" "kind" "memory" (mergeOverwrite (pick (deepCopy .Values.gateway.config) "adapter") (deepCopy .Values.publisher.config)) -}}
{{- if eq $adapter "memory" -}}
{{- fail "publisher.enabled is true while gateway.config.adapter.kind is memory: publishers reach gateways by Redis; allowed: redis or redis-sharded for both" -}}
{{- end -}}
{{- if not (or .Values.publisher.grpc.insecure .Values.publisher.grpc.keysSecret) -}}
{{- fail "publisher.grpc.keysSecret is empty: a publisher asks who calls; allowed: the name of a Secret with keys.toml, or publisher.grpc.insecure=true to let everybody" -}}
{{- end -}}
{{- end -}}

{{/* Seconds from the end of readiness to SIGKILL, as of the gateway. */}}
{{- define "roomcast.publisher.graceSeconds" -}}
{{- $deadline := dig "shutdown" "deadline_ms" 10000 .Values.publisher.config | int -}}
{{- add (int .Values.publisher.preStopSeconds) (div (add $deadline 999) 1000) 5 -}}
{{- end -}}
