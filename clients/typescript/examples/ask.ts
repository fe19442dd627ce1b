import { ClientError, Customer360, byIdentifier, tokenFile, traitsOf } from "customer360-client";

const customers = new Customer360({ addresses: { profile: "127.0.0.1:50053" }, token: tokenFile(".data/secrets/operator-token") });
try {
  const profile = await customers.getProfile(byIdentifier("email", "ada@example.com"), "service", { timeoutMs: 2_000 });
  console.log(traitsOf(profile).first_name, "is customer", profile.customerId);
} catch (error) {
  if (!(error instanceof ClientError)) throw error;
  console.log("not for us:", error.reason, error.message);
} finally {
  customers.close();
}
