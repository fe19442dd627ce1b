import { Customer360, Outcome, byIdentifier, identifier, tokenFile, traitsOf } from "customer360-client";

const customers = new Customer360({ writeKey: "wk_K5x...", token: tokenFile(".data/secrets/operator-token") });
const [email, ada] = [identifier("email", "ada@example.com"), byIdentifier("email", "ada@example.com")];

await customers.identify({ userId: "ada", traits: { email: "ada@example.com", first_name: "Ada" } });
await customers.track({ userId: "ada", name: "Ordered", properties: { total: 3 } });
await customers.decide({ identifier: email, purpose: "marketing", outcome: Outcome.GRANTED, method: "web-form" });
console.log((await customers.check(ada, "marketing")).permitted);
for await (const profile of customers.watch(ada, "service")) {
  console.log(traitsOf(profile).first_name); // now, and whenever it changes; here once is enough
  break;
}
customers.close();
