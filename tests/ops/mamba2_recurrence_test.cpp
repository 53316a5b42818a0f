// Mamba-2's recurrence is one of ops/recurrence.h, without delta rule, whose beta is the time step
// that the decay is made of. It comes out as computed elsewhere (tests/data/mixers), with D x.
#include <gtest/gtest.h>

#include "ops/decay_gate.h"
#include "ops/recurrence.h"
#include "tests/support/mixer_case.h"

namespace hypenet {
namespace {

using testing_support::MixerCase;

TEST(Mamba2Recurrence, comes_out_as_computed_elsewhere) {
  for (const auto& [type, tolerance] :
       {std::pair{torch::kFloat64, 1e-6}, std::pair{torch::kFloat32, 2e-5}}) {
    for (const char* name : {"op0", "op1", "op2"}) {
      SCOPED_TRACE(c10::str(name, " ", type));
      MixerCase x("mamba2", name, type);
      const Tensor v = x.leaf("x"), A_log = x.leaf("A_log");
      const Tensor steps = decay_gate(x.leaf("dt"), torch::zeros_like(A_log), x.leaf("dt_bias"));
      Recurrence in{.q = x.leaf("Cm"),
                    .k = x.leaf("Bm"),
                    .v = v,
                    .decay = steps * A_log.exp(),
                    .beta = steps};
      in.chunk = 64;
      in.state = x.leaf("state_in");
      const RecurrenceOutput out = recurrence_chunked(in);
      const Tensor skip = v * x.leaf("D").unsqueeze(-1);
      x.expect({{"o", out.output + skip}, {"state_out", out.state}}, tolerance);
    }
  }
}

}  // namespace
}  // namespace hypenet
