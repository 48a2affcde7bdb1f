import { connect } from "node:tls";

/** The fingerprint (SHA-256) of the certificate that a new connection to a port with implicit TLS is shown. */
export async function presentedCertificate(port: number): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const socket = connect({ port, host: "127.0.0.1", rejectUnauthorized: false });
  // Once the greeting is there, the server has done its part of the handshake.
  socket.once("data", () => resolve(socket.getPeerCertificate().fingerprint256));
  socket.once("error", reject);
  socket.once(
    "close",
    () => reject(new Error(`Cannot see a certificate: port ${port} closed the connection`)),
  );
  try {
    return await promise;
  } finally {
    socket.destroy();
  }
}
