/** The fields that Kubernetes knows (1.35), of objects that count without those that it does not. `staging/src/k8s.io/api`. */
import type { WorkloadKind } from './objects.js';

const words = (text: string): readonly string[] => text.trim().split(/\s+/);

/** Of what has a spec and a status. */
export const OBJECT = words('apiVersion kind metadata spec status');

/** metav1.ObjectMeta; `clusterName` was one until 1.24. */
export const METADATA = words(`
  annotations clusterName creationTimestamp deletionGracePeriodSeconds deletionTimestamp finalizers generateName generation labels
  managedFields name namespace ownerReferences resourceVersion selfLink uid`);

/** corev1.PodTemplateSpec. */
export const TEMPLATE = words('metadata spec');

/** corev1.PodSpec. */
export const POD_SPEC = words(`
  activeDeadlineSeconds affinity automountServiceAccountToken containers dnsConfig dnsPolicy enableServiceLinks ephemeralContainers
  hostAliases hostIPC hostNetwork hostPID hostUsers hostname hostnameOverride imagePullSecrets initContainers nodeName nodeSelector
  os overhead preemptionPolicy priority priorityClassName readinessGates resourceClaims resources restartPolicy runtimeClassName
  schedulerName schedulingGates securityContext serviceAccount serviceAccountName setHostnameAsFQDN shareProcessNamespace subdomain
  terminationGracePeriodSeconds tolerations topologySpreadConstraints volumes workloadRef`);

/** corev1.Container. */
export const CONTAINER = words(`
  args command env envFrom image imagePullPolicy lifecycle livenessProbe name ports readinessProbe resizePolicy resources
  restartPolicy restartPolicyRules securityContext startupProbe stdin stdinOnce terminationMessagePath terminationMessagePolicy tty
  volumeDevices volumeMounts workingDir`);

/** corev1.ContainerPort. */
export const CONTAINER_PORT = words('name hostPort containerPort protocol hostIP');

/** corev1.ServiceSpec; `topologyKeys` was one until 1.22. */
export const SERVICE_SPEC = words(`
  allocateLoadBalancerNodePorts clusterIP clusterIPs externalIPs externalName externalTrafficPolicy healthCheckNodePort
  internalTrafficPolicy ipFamilies ipFamilyPolicy loadBalancerClass loadBalancerIP loadBalancerSourceRanges ports
  publishNotReadyAddresses selector sessionAffinity sessionAffinityConfig trafficDistribution type`);

/** corev1.ServicePort. */
export const SERVICE_PORT = words('name protocol appProtocol port targetPort nodePort');

const JOB_SPEC = words(`
  activeDeadlineSeconds backoffLimit backoffLimitPerIndex completionMode completions managedBy manualSelector maxFailedIndexes
  parallelism podFailurePolicy podReplacementPolicy selector successPolicy suspend template ttlSecondsAfterFinished`);

/** The specs of the kinds that make pods; of a CronJob that of its Jobs. */
export const WORKLOAD_SPECS: Readonly<Record<WorkloadKind, readonly string[]>> = {
  Deployment: words(`
    minReadySeconds paused progressDeadlineSeconds replicas revisionHistoryLimit selector strategy template`),
  ReplicaSet: words('minReadySeconds replicas selector template'),
  StatefulSet: words(`
    minReadySeconds ordinals persistentVolumeClaimRetentionPolicy podManagementPolicy replicas revisionHistoryLimit selector
    serviceName template updateStrategy volumeClaimTemplates`),
  DaemonSet: words('minReadySeconds revisionHistoryLimit selector template updateStrategy'),
  Job: JOB_SPEC,
  CronJob: JOB_SPEC,
  ReplicationController: words('minReadySeconds replicas selector template'),
};
