// A conversion that takes seconds, and the seed of tests that interrupt it at random moments.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"

namespace hypenet::testing_support {

/// A text that is long enough for it.
inline void write_text(const std::filesystem::path& path) {
  std::string text;
  for (int i = 0; i < 2000; ++i)
    text += concat("Sentence ", i, " of a text that nobody would read twice. ");
  write_file(path, text);
}

/// The embedded teacher with the tiny recipe cut down to seconds: every stage, some steps each,
/// saved often.
inline std::vector<std::string> short_conversion(const std::filesystem::path& out,
                                                 const std::string& data) {
  std::vector<std::string> arguments = {
      "convert", "--recipe",   HYPENET_SOURCE "/recipes/tiny.json",
      "--out",   out.string(), "--data",
      data,      "--threads",  "1"};
  for (const std::string setting :
       {"align.steps=8", "align.sequences=2", "align.context=128", "align.save_every=3",
        "distill.steps=9", "distill.sequences=2", "distill.context=128", "distill.save_every=4",
        "finetune.steps=6", "finetune.sequences=1", "finetune.context=256", "finetune.save_every=2",
        "sweep.prompts=4", "sweep.windows=4", "evaluate.prompts=4", "evaluate.windows=4",
        "evaluate.contexts=[256,512]"}) {
    arguments.push_back("--set");
    arguments.push_back(setting);
  }
  return arguments;
}

inline uint64_t seed_of_this_run() {
  const char* const asked = std::getenv("HYPENET_TEST_SEED");
  return asked != nullptr ? std::stoull(asked) : std::random_device()();
}

}  // namespace hypenet::testing_support
