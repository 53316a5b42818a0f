// What files of sessions and prefixes are told apart by.
#include "cli/serve_model.h"

#include <gtest/gtest.h>

#include "base/json.h"
#include "tests/support/model_folder.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

TEST(WeightsFingerprint, differs_where_only_a_key_of_a_mixer_does) {
  const TemporaryFolder place;
  testing_support::write_byte_model(place / "model");
  const Checkpoint model(place / "model");
  const auto fingerprint = [&](const Json& config) {
    return weights_fingerprint(model, parse_model_config(config, "config.json"));
  };
  const Json config = model.config();
  Json other = config;
  other["lightning_scale"] = "1";
  ASSERT_NE(other, config);
  EXPECT_EQ(fingerprint(config), fingerprint(model.config()));
  EXPECT_NE(fingerprint(config), fingerprint(other));
}

}  // namespace
}  // namespace hypenet
