// A served model without a model, and what a refusal was.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <string>

#include "serve/api/api_error.h"
#include "serve/api/parameters.h"
#include "serve/api/served_model.h"
#include "text/tokenizer.h"

namespace hypenet {

inline ServedModel served_model() {
  return {.name = "tiny",
          .aliases = {"gpt-4o"},
          .created = 1'700'000'000,
          .vocab_size = 1000,
          .context_length = 4096,
          .defaults = {.temperature = 0.6, .top_k = 20, .top_p = 0.95}};
}

inline const Tokenizer& tiny_tokenizer() {
  static const Tokenizer tokenizer =
      Tokenizer::load(std::filesystem::path(HYPENET_SOURCE) / "models" / "tiny-teacher");
  return tokenizer;
}

/// "status code param", or "accepted".
inline std::string refusal(const std::function<void()>& parse) {
  try {
    parse();
  } catch (const ApiError& error) {
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
    if (!error.param().empty()) {
      EXPECT_TRUE(std::string_view(error.what()).starts_with(error.param())) << error.what();
    }
    return concat(error.status(), ' ', error.code(), ' ', error.param());
  }
  return "accepted";
}

}  // namespace hypenet
