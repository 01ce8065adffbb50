{{/* Name of the chart, in labels. */}}
{{- define "roomcast.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Prefix of every object's name; 40 leaves room for "-gateway-internal" within the 63 of a DNS label. */}}
{{- define "roomcast.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "roomcast.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "roomcast.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels that select the pods of one component; takes (dict "root" $ "component" "gateway"). Never to be changed. */}}
{{- define "roomcast.selectorLabels" -}}
app.kubernetes.io/name: {{ include "roomcast.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Labels of every object of one component; takes the same. */}}
{{- define "roomcast.labels" -}}
{{ include "roomcast.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: roomcast
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "roomcast.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "roomcast.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The name of an image; takes (dict "root" $ "image" .Values.image). */}}
{{- define "roomcast.image" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (default .root.Chart.AppVersion .image.tag) -}}
{{- end -}}
{{- end -}}

{{/*
A value as TOML, tables and all on one line. Not Helm's toToml: numbers of values.yaml are floating point to it, and
the gateway refuses 25000.0 where it wants an integer. A key without a value is left out: TOML has no null.
*/}}
{{- define "roomcast.toml" -}}
{{- if kindIs "map" . -}}
{{- $pairs := list -}}
{{- range $key, $value := . -}}
{{- if not (kindIs "invalid" $value) -}}
{{- $pairs = append $pairs (printf "%s = %s" (include "roomcast.tomlKey" $key) (include "roomcast.toml" $value)) -}}
{{- end -}}
{{- end -}}
{ {{- join ", " $pairs -}} }
{{- else if kindIs "slice" . -}}
{{- $items := list -}}
{{- range $value := . -}}
{{- $items = append $items (include "roomcast.toml" $value) -}}
{{- end -}}
[ {{- join ", " $items -}} ]
{{- else -}}
{{- toJson . -}}
{{- end -}}
{{- end -}}

{{- define "roomcast.tomlKey" -}}
{{- if regexMatch "^[A-Za-z0-9_-]+$" . -}}{{ . }}{{- else -}}{{ toJson . }}{{- end -}}
{{- end -}}

{{/* Sections of a configuration, each a table of TOML. */}}
{{- define "roomcast.sections" -}}
{{- range $section, $keys := . }}
{{- if not (kindIs "invalid" $keys) }}
[{{ $section }}]
{{- range $key, $value := $keys }}
{{- if not (kindIs "invalid" $value) }}
{{ include "roomcast.tomlKey" $key }} = {{ include "roomcast.toml" $value }}
{{- end }}
{{- end }}
{{ end }}
{{- end }}
{{- end -}}
