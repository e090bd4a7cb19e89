/** A manifest, and a name of a file, that try to be more than text. Lines of both come up in the editor. */

export const HOSTILE_FILE =
  '[x](command:workbench.action.quit) <img src=x> $(trash) www.evil.example a@evil.example.yaml';

/** Everything listens to everybody, but for what the policy in the file allows: hovers name it and its file. */
export const HOSTILE_MANIFEST = `apiVersion: v1
kind: Namespace
metadata:
  name: trouble
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: server
  namespace: trouble
spec:
  selector: { matchLabels: { app: server } }
  template:
    metadata: { labels: { app: server } }
    spec:
      containers:
        - name: server
          image: server
          ports: [{ containerPort: 80 }]
---
apiVersion: v1
kind: Service
metadata:
  name: server
  namespace: trouble
spec:
  selector: { app: server }
  ports: [{ port: 80 }]
---
apiVersion: v1
kind: Pod
metadata:
  name: client
  namespace: trouble
  labels: { app: client }
spec:
  containers: [{ name: client, image: client }]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: server
  namespace: trouble
spec:
  podSelector: { matchLabels: { app: server } }
  policyTypes: [Ingress]
  ingress:
    - from: [{ podSelector: { matchLabels: { app: client } } }]
`;
