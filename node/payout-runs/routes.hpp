// The routes of payouts under /api/v1, for the router of node-management. `runs` outlives the router. With a service token:
//   POST /payouts/periods {id, first_epoch, last_epoch, budget, currency, policy?} → 201 (200: closed before with the same) | 409 period_exists
//   GET  /payouts/periods?limit&cursor, /payouts/periods/{id}, /payouts/periods/{id}/statement
//   POST /payouts/batches {currency} → 201 {batches}: of every pending payout; none pending: an empty list. Safe to repeat
//   GET  /payouts/batches/{id}
//   GET  /payouts?limit&cursor&state&node, /nodes/{id}/payouts?limit&cursor&state, /payouts.csv?state&node
//   GET  /payouts/{id}; POST /payouts/{id}/cancel, /payouts/{id}/retry → 200 | 409 illegal_transition, rail_undecided
#pragma once

#include "lib/net/http.hpp"
#include "node/payout-runs/payout_runs.hpp"

namespace lucid::payout_runs {

void add_routes(net::Router& router, PayoutRuns& runs);

}  // namespace lucid::payout_runs
