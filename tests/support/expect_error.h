// A check that a statement throws hypenet::Error whose one line holds a text.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/error.h"

/// EXPECT_ERROR(statement, "file: tensor x: expected");
#define EXPECT_ERROR(statement, text)                                     \
  do {                                                                    \
    try {                                                                 \
      static_cast<void>(statement);                                       \
      ADD_FAILURE() << "expected an Error, found none: " #statement;      \
    } catch (const ::hypenet::Error& error) {                             \
      EXPECT_THAT(std::string(error.what()), ::testing::HasSubstr(text)); \
      EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos); \
    }                                                                     \
  } while (false)
