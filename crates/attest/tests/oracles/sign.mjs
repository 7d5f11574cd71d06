// Signs as senders do: an event of Standard Webhooks' by their library, one of GitHub's by theirs.
import { Webhook } from "standardwebhooks";
import { sign } from "@octokit/webhooks-methods";

const { secret, id, seconds, body, github } = JSON.parse(process.argv[2]);
const key = Buffer.from(secret).toString("base64");
console.log(
  JSON.stringify({
    standard: new Webhook(key).sign(id, new Date(seconds * 1000), body),
    github: await sign(secret, github),
  }),
);
