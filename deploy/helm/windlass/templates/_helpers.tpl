{{/* The name of every object: the release's, with the chart's where it is not in it. */}}
{{- define "windlass.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What a pod is found by: it must never change between versions. */}}
{{- define "windlass.selector" -}}
app.kubernetes.io/name: windlass
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "windlass.labels" -}}
{{ include "windlass.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "windlass.image" -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}

{{- define "windlass.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "windlass.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "windlass.fullname" .) -}}
{{- end -}}

{{- define "windlass.claim" -}}
{{- .Values.persistence.existingClaim | default (include "windlass.fullname" .) -}}
{{- end -}}

{{/* The Secret that must be there. Refused in words, since a pod that lacks it only says so in its events. */}}
{{- define "windlass.secret" -}}
{{- required "secret: name a Secret with WINDLASS_OWNER_KEY in it; make one with: kubectl create secret generic windlass --from-literal=WINDLASS_OWNER_KEY=…" .Values.secret -}}
{{- end -}}

{{/* The keys that the Secret must have, by what is set: a list in JSON. */}}
{{- define "windlass.needed" -}}
{{- $needed := list "WINDLASS_OWNER_KEY" -}}
{{- if .Values.database }}{{ $needed = append $needed "WINDLASS_DATABASE_PASSWORD" }}{{ end -}}
{{- if .Values.spans }}{{ $needed = append $needed "WINDLASS_SPANS_PASSWORD" }}{{ end -}}
{{- if and .Values.blobs (eq .Values.blobCredentials "secret") }}{{ $needed = concat $needed (list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY") }}{{ end -}}
{{- toJson $needed -}}
{{- end -}}

{{/* Every name the server answers to besides its address, for WINDLASS_NAMES. */}}
{{- define "windlass.names" -}}
{{- $service := include "windlass.fullname" . -}}
{{- $names := .Values.names -}}
{{- if .Values.ingress.enabled }}{{ $names = append $names .Values.ingress.host }}{{ end -}}
{{- $names = concat $names (list (printf "%s.%s.svc" $service .Release.Namespace) (printf "%s.%s" $service .Release.Namespace) $service) -}}
{{- join "," ($names | uniq) -}}
{{- end -}}

{{/* Refuses, in words, what a schema cannot say: secrets among the values, and a name that is missing. */}}
{{- define "windlass.checked" -}}
{{- range $what, $variable := dict "database" "WINDLASS_DATABASE_PASSWORD" "spans" "WINDLASS_SPANS_PASSWORD" "blobs" "AWS_SECRET_ACCESS_KEY" -}}
{{- if regexMatch "^[^@/]*//[^@/]*:[^@/]*@|[?&][^=]*(pass|secret)" (get $.Values $what) -}}
{{- fail (printf "%s: a secret does not belong in a value; put it as %s into the Secret" $what $variable) -}}
{{- end -}}
{{- end -}}
{{- range $name, $_ := .Values.variables -}}
{{- if hasPrefix "WINDLASS_" $name -}}
{{- fail (printf "variables.%s: write it without WINDLASS_ and in small letters under settings, or put it into the Secret" $name) -}}
{{- else if regexMatch "KEY|PASS|SECRET|TOKEN" $name -}}
{{- fail (printf "variables.%s: a secret does not belong in a value; put it into the Secret" $name) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) -}}
{{- fail "ingress.host: say by which name people reach the server" -}}
{{- end -}}
{{- end -}}
