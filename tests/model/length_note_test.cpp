// What is said of lengths that a model was not made for.
#include "model/length_note.h"

#include <gtest/gtest.h>

namespace hypenet {
namespace {

TEST(LengthNote, says_both_numbers_and_where_the_second_stands) {
  ModelConfig config;
  config.max_position_embeddings = 4096;
  EXPECT_EQ(length_note("--context", 4096, config), std::nullopt);
  EXPECT_EQ(length_note("--context", 8192, config),
            "--context: 8192 tokens are more than the 4096 that this model was made for "
            "(config.json: max_position_embeddings)");
  config.max_position_embeddings = 0;  // not given
  EXPECT_EQ(length_note("--context", 8192, config), std::nullopt);
}

}  // namespace
}  // namespace hypenet
