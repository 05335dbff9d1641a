# All flags live on one INTERFACE target.
add_library(cfsgate_options INTERFACE)
target_include_directories(cfsgate_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(cfsgate_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wold-style-cast
  -Wnon-virtual-dtor -Woverloaded-virtual -Wcast-align -Wimplicit-fallthrough -Wundef -Wformat=2)
if(CMAKE_CXX_COMPILER_ID MATCHES Clang)
  target_compile_options(cfsgate_options INTERFACE -Wthread-safety)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  # GCC 12 sees the value of a CFSGATE_TRY as unset on the path that has already returned.
  target_compile_options(cfsgate_options INTERFACE -Wno-maybe-uninitialized)
endif()
if(CFSGATE_WERROR)
  target_compile_options(cfsgate_options INTERFACE -Werror)
endif()
if(CFSGATE_SANITIZE)
  # Tests are not what is looked at, and undefined behaviour is what costs most to compile.
  string(REPLACE ",undefined" "" in_tests "${CFSGATE_SANITIZE}")
  string(REPLACE "," "$<COMMA>" in_product "${CFSGATE_SANITIZE}")
  target_compile_options(cfsgate_options INTERFACE
    -fsanitize=$<IF:$<BOOL:$<TARGET_PROPERTY:CFSGATE_IS_TEST>>,${in_tests},${in_product}>
    -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_compile_definitions(cfsgate_options INTERFACE _GLIBCXX_ASSERTIONS)
  target_link_options(cfsgate_options INTERFACE -fsanitize=${CFSGATE_SANITIZE})
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
    # std::atomic_thread_fence in a library header: not understood by the sanitizer.
    target_compile_options(cfsgate_options INTERFACE -Wno-tsan)
  endif()
elseif(CMAKE_BUILD_TYPE MATCHES "Rel")
  target_compile_definitions(cfsgate_options INTERFACE _FORTIFY_SOURCE=2)
  target_compile_options(cfsgate_options INTERFACE -fstack-protector-strong)
  target_link_options(cfsgate_options INTERFACE -Wl,-z,relro,-z,now)
endif()
if(CFSGATE_FUZZ)
  # All of our code tells the fuzzer which ways it went, and quickly.
  target_compile_options(cfsgate_options INTERFACE -fsanitize=fuzzer-no-link -O1)
endif()
target_compile_definitions(cfsgate_options INTERFACE CFSGATE_VERSION="${PROJECT_VERSION}")

# What nearly every source of ours includes, read once. Only with sanitizers, where it saves a third
# of the build; the other builds show whether each source includes what it needs.
function(cfsgate_precompile)
  if(NOT CFSGATE_SANITIZE)
    return()
  endif()
  foreach(target ${ARGN})
    get_target_property(sources ${target} SOURCES)
    set(headers algorithm array atomic chrono cstdint cstring deque functional map memory mutex
      optional string string_view thread unordered_map utility variant vector tl/expected.hpp
      spdlog/spdlog.h)
    if(sources MATCHES "_test[.]cc")
      list(APPEND headers gtest/gtest.h gmock/gmock.h)
    endif()
    foreach(header ${headers})
      target_precompile_headers(${target} PRIVATE "$<$<COMPILE_LANGUAGE:CXX>:<${header}$<ANGLE-R>>")
    endforeach()
  endforeach()
endfunction()

# One unit-test program per layer, one CTest entry for each.
function(cfsgate_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBRARIES" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  set_target_properties(${name} PROPERTIES CFSGATE_IS_TEST ON)
  set_property(GLOBAL APPEND PROPERTY CFSGATE_UNIT_TESTS ${name})
  target_link_libraries(${name} PRIVATE ${ARG_LIBRARIES} GTest::gtest_main GTest::gmock)
  target_compile_definitions(${name} PRIVATE
    CFSGATE_TEST_DATA="${PROJECT_SOURCE_DIR}/tests/data")
  add_test(NAME unit.${name} COMMAND ${name})
  set_tests_properties(unit.${name} PROPERTIES TIMEOUT 120 LABELS unit)
endfunction()

function(cfsgate_fuzz name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBRARIES" ${ARGN})
  if(CFSGATE_FUZZ)
    add_executable(fuzz_${name} ${ARG_SOURCES})
    target_link_libraries(fuzz_${name} PRIVATE ${ARG_LIBRARIES})
    target_compile_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  endif()
  # The corpus replays as an ordinary test in every build.
  set_property(GLOBAL APPEND PROPERTY CFSGATE_UNIT_TESTS replay_${name})
  add_executable(replay_${name} ${ARG_SOURCES} ${PROJECT_SOURCE_DIR}/tests/fuzz/replay_main.cc)
  target_link_libraries(replay_${name} PRIVATE ${ARG_LIBRARIES})
  add_test(NAME fuzz.${name} COMMAND replay_${name} ${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${name})
  set_tests_properties(fuzz.${name} PROPERTIES TIMEOUT 60 LABELS fuzz)
endfunction()
