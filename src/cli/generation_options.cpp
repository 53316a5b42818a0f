// Flags and files of sampling go through the same checks.
#include "cli/generation_options.h"

#include <algorithm>
#include <charconv>
#include <string>
#include <type_traits>

#include "base/error.h"
#include "cli/numbers.h"
#include "engine/generation_config.h"

namespace hypenet {
namespace {

std::string flag_name(const char* key) {
  std::string name = concat("--", key);
  for (char& c : name) c = c == '_' ? '-' : c;
  return name;
}

uint64_t parse_seed(const std::string& text) {
  uint64_t seed = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, seed);
  HYPENET_CHECK(error == std::errc() && stop == end,
                "--seed: expected an integer of 0 to 18446744073709551615, found \"", text, "\"");
  return seed;
}

/// At temperature 0 nothing is drawn.
void check_has_effect(const SamplingFlags& flags, bool seeds_more) {
  const auto refuse = [](const char* key) {
    throw Error(concat(flag_name(key),
                       ": has no effect at temperature 0, which takes the likeliest token; with "
                       "--temperature above 0 it has one"));
  };
  SamplingOptions::visit([&](const char* key, auto, auto, const OptionAbout& about) {
    if (about.chooses && flags.given.contains(key)) refuse(key);
  });
  if (flags.given.contains("seed") && !seeds_more) refuse("seed");
}

}  // namespace

void add_sampling_options(CLI::App& command, SamplingFlags& flags) {
  SamplingOptions::visit([&](const char* key, auto member, auto, const OptionAbout& about) {
    using Value = std::decay_t<decltype(flags.values.*member)>;
    const auto take = [&flags, key, member](const Value& value) {
      flags.values.*member = value;
      flags.given.insert(key);
    };
    command.add_option_function<Value>(flag_name(key), take, about.text);
  });
  const auto take_seed = [&flags](const std::string& text) {
    flags.values.seed = parse_seed(text);
    flags.given.insert("seed");
  };
  command.add_option_function<std::string>("--seed", take_seed, "of the random choice (0)");
}

SamplingOptions sampling_options(const SamplingFlags& flags, const SamplingOptions& defaults,
                                 bool seeds_more) {
  SamplingOptions options = defaults;
  SamplingOptions::visit([&](const char* key, auto member, const auto&...) {
    if (flags.given.contains(key)) options.*member = flags.values.*member;
  });
  options.seed = flags.values.seed;
  check_settings(options, flag_name);
  if (options.temperature == 0) check_has_effect(flags, seeds_more);
  return options;
}

void add_memory_option(CLI::App& command, int64_t& bytes, const std::string& about) {
  command.add_option_function<std::string>(
      "--memory", [&bytes](const std::string& text) { bytes = parse_bytes(text, "--memory"); },
      about);
}

void add_memory_options(CLI::App& command, MemoryFlags& flags) {
  add_memory_option(
      command, flags.bytes,
      "for caches and states: 8G, 512M, or a number of GiB (0: what a GPU has left, or 4 GiB)");
  command
      .add_option("--context", flags.context,
                  "tokens of prompt and answer at most (0: what the memory holds)")
      ->capture_default_str();
}

EngineOptions engine_options(const MemoryFlags& flags, int64_t max_sequences) {
  constexpr int64_t kMostTokens = int64_t{1} << 24;  // the engine's own bound
  HYPENET_CHECK(flags.context >= 0 && flags.context <= kMostTokens, "--context: expected 0 to ",
                with_commas(kMostTokens), ", found ", flags.context);
  EngineOptions options;
  options.memory_bytes = flags.bytes;
  options.max_context = flags.context;
  options.max_sequences = max_sequences;
  return options;
}

std::string what_ends_context(Engine& engine, const MemoryFlags& flags) {
  if (flags.context > 0 && engine.longest_sequence() == flags.context) {
    return concat("--context ", flags.context);
  }
  return concat("--memory", flags.bytes > 0 ? " " + readable_bytes(flags.bytes) : "",
                ", which holds ", with_commas(engine.longest_sequence()), " tokens");
}

int64_t answer_tokens(Engine& engine, const MemoryFlags& flags, int64_t prompt_tokens,
                      int64_t asked) {
  const int64_t longest = engine.longest_sequence();
  HYPENET_CHECK(prompt_tokens < longest, "prompt: expected at most ", with_commas(longest - 1),
                " tokens, which leave one for the answer of ", what_ends_context(engine, flags),
                ", found ", with_commas(prompt_tokens), "; a larger ",
                flags.context == longest ? "--context" : "--memory", " takes it");
  return std::min(asked, longest - prompt_tokens);
}

}  // namespace hypenet
