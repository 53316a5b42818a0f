// What parsers of requests must know of the server.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/options.h"

namespace hypenet {

struct ServedModel {
  std::string name;
  std::vector<std::string> aliases = {};  // further names that requests may use
  int64_t created = 0;                    // seconds since 1970, when it was opened
  int64_t vocab_size = 0;                 // ids of requests are below it
  int64_t context_length = 0;             // tokens of prompt and answer together
  int64_t trained_length = 0;             // tokens that the model was made for; 0: not known

  // What a request does not say. Temperature 1 unless generation_config.json says otherwise:
  // read_generation_config(folder, {.temperature = 1}).
  SamplingOptions defaults = {.temperature = 1};
  ReuseMode reuse = ReuseMode::kExact;
  std::string cache_salt = {};   // the key's name with --cache-per-key; requests may only add
  double request_timeout = 600;  // seconds; requests may ask for less
  int64_t most_choices = 16;     // of n

  bool serves(std::string_view model) const;
};

}  // namespace hypenet
