// libgomp's threads spin for milliseconds before they sleep, which takes a busy machine's time
// slices from those that still work. Here they are told to sleep sooner, in the environment.
#include <string_view>

namespace hypenet {
namespace {

// Turns of a loop of a few dozen to 140 cycles each: docs/training.md, "Beside other work".
// libgomp reads it once, when it is loaded: before main, and before the C library can add a
// variable. So a variable that no library looks for lends its place in the list from before the
// first library is initialised until the last one is. This file is linked into the program itself,
// as .preinit_array is not allowed elsewhere.
char wait_briefly[] = "GOMP_SPINCOUNT=15000";

// Those after the first few are there where no shell has started the program.
constexpr std::string_view kLenders[] = {"_=",        "OLDPWD=", "SHLVL=", "PWD=",  "LOGNAME=",
                                         "HOSTNAME=", "SHELL=",  "USER=",  "HOME=", "PATH="};

// Volatile: a compiler may take it that nothing runs before constructors.
char** volatile lent_place = nullptr;
char* volatile lender = nullptr;

bool decides_waiting(std::string_view variable) {
  return variable.starts_with("GOMP_SPINCOUNT=") || variable.starts_with("OMP_WAIT_POLICY");
}

void borrow_place(int /*argc*/, char** /*argv*/, char** environment) {
  char** place = nullptr;
  size_t rank = std::size(kLenders);
  for (char** variable = environment; *variable != nullptr; ++variable) {
    if (decides_waiting(*variable)) return;
    for (size_t i = 0; i < rank; ++i) {
      if (std::string_view(*variable).starts_with(kLenders[i])) place = variable, rank = i;
    }
  }
  if (place == nullptr) return;
  lender = *place;
  lent_place = place;
  *place = wait_briefly;
}

[[gnu::section(".preinit_array"), gnu::used]] void (*const kBeforeLibraries)(int, char**,
                                                                             char**) = borrow_place;

[[gnu::constructor]] void return_place() {
  if (lent_place != nullptr) *lent_place = lender;
}

}  // namespace
}  // namespace hypenet
