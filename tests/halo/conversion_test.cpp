// Settings of a conversion as earlier programs wrote them.
#include "halo/conversion.h"

#include <gtest/gtest.h>

namespace hypenet {
namespace {

/// The settings as a program wrote them before configs had these keys.
Json before_newer_keys(Json settings) {
  if (!settings.is_object()) return settings;
  for (const char* key : {"objective", "frozen", "recall", "lazy", "tasks", "layers"})
    settings.erase(key);
  for (auto& item : settings.items()) item.value() = before_newer_keys(item.value());
  return settings;
}

TEST(CompletedSettings, give_every_config_its_newer_keys) {
  const Json stage = write_fields(StageConfig());
  const Json now = {{"seed", 0},
                    {"align", stage},
                    {"sweep", write_fields(SweepConfig())},
                    {"select", write_fields(SelectConfig())},
                    {"distill", stage},
                    {"finetune", stage},
                    {"pilot", {{"stage", stage}}}};
  EXPECT_EQ(completed_settings(before_newer_keys(now), "run.json"), now);
  EXPECT_EQ(completed_settings({{"seed", 0}}, "run.json"), Json({{"seed", 0}}));
}

TEST(CompletedSettings, are_the_same_from_another_working_folder) {
  const Json settings = {{"teacher", "a/../b/"}};
  EXPECT_EQ(completed_settings(settings, "run.json")["teacher"], absolute_path("b"));
}

TEST(CompletedSettings, leave_alone_what_only_looks_like_a_stage) {
  const Json settings = {{"later", {{"steps", 3}, {"sequences", 2}}}};
  EXPECT_EQ(completed_settings(settings, "run.json"), settings);
}

}  // namespace
}  // namespace hypenet
