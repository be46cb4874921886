# Turns sql/queries/*.sql and sql/migrations/*.sql into C tables.
#   cmake -DSOURCE=<root> -DOUT=<directory> -P embed.cmake
# writes OUT/stmt.h (enum stmt), OUT/stmt_table.c and OUT/migrations.c. The form of a statement is told in storage/pg/stmt_info.h.
# A malformed or doubled header fails with file:line.
cmake_minimum_required(VERSION 3.25)

set(types bool bytea int8 int2 int4 text float8 timestamptz uuid jsonb)
set(params_max 48) # STMT_PARAMS_MAX

# CMake's lists give ; [ ] and \ a meaning of their own, so the text is made a C string's content first and then taken apart.
function(read_lines path ret)
  file(READ ${path} text)
  string(REPLACE "\\" "\\134" text "${text}")
  string(REPLACE "\"" "\\042" text "${text}")
  string(REPLACE ";" "\\073" text "${text}")
  string(REPLACE "[" "\\133" text "${text}")
  string(REPLACE "]" "\\135" text "${text}")
  string(REPLACE "\t" "  " text "${text}")
  string(REGEX REPLACE "\n$" "" text "${text}")
  string(REPLACE "\n" ";" text "${text}")
  set(${ret} "${text}" PARENT_SCOPE)
endfunction()

# "uuid, int8[]" -> "PG_UUID, PG_INT8 + PG_ARRAY" and their number.
function(type_list where text ret ret_count)
  set(c "")
  set(count 0)
  string(STRIP "${text}" text)
  if(NOT text STREQUAL "")
    string(REPLACE "," ";" words "${text}")
    foreach(word IN LISTS words)
      string(STRIP "${word}" word)
      set(suffix "")
      if(word MATCHES "^(.*)\\\\133\\\\135$")
        set(word "${CMAKE_MATCH_1}")
        set(suffix " + PG_ARRAY")
      endif()
      if(NOT word IN_LIST types)
        message(FATAL_ERROR "${where}: \"${word}\" is not a type; there are: ${types}, and [] after one")
      endif()
      string(TOUPPER "${word}" upper)
      string(APPEND c "PG_${upper}${suffix}, ")
      math(EXPR count "${count} + 1")
    endforeach()
  endif()
  if(count GREATER params_max)
    message(FATAL_ERROR "${where}: more than ${params_max} types")
  endif()
  set(${ret} "${c}" PARENT_SCOPE)
  set(${ret_count} ${count} PARENT_SCOPE)
endfunction()

# Variables of the statement being read: name, where, header (until it is complete), sql.
macro(begin_statement)
  if(NOT header MATCHES "^([a-z][a-z0-9_]*) *\\(([^()]*)\\) *-> *\\(([^()]*)\\)( +repeatable)? *$")
    message(FATAL_ERROR "${where}: a header looks like: -- name: run_create (uuid, jsonb) -> (timestamptz) repeatable")
  endif()
  set(name "${CMAKE_MATCH_1}")
  set(params "${CMAKE_MATCH_2}")
  set(results "${CMAKE_MATCH_3}")
  set(repeatable false)
  if(NOT "${CMAKE_MATCH_4}" STREQUAL "")
    set(repeatable true)
  endif()
  if(DEFINED place_of_${name})
    message(FATAL_ERROR "${where}: the statement ${name} is already at ${place_of_${name}}")
  endif()
  set(place_of_${name} "${where}")
  type_list("${where}" "${params}" params_c param_count)
  type_list("${where}" "${results}" results_c result_count)
  set(header "")
  set(sql "")
endmacro()

macro(end_statement)
  if(name)
    if(sql STREQUAL "")
      message(FATAL_ERROR "${where}: the statement ${name} has no text")
    endif()
    string(TOUPPER "STMT_${name}" constant)
    string(APPEND enum "  ${constant},\n")
    set(params_name NULL)
    set(results_name NULL)
    if(param_count)
      set(params_name "params_${name}")
      string(APPEND shapes "static const unsigned char ${params_name}[] = {${params_c}};\n")
    endif()
    if(result_count)
      set(results_name "results_${name}")
      string(APPEND shapes "static const unsigned char ${results_name}[] = {${results_c}};\n")
    endif()
    string(APPEND rows "  [${constant}] = {\"${name}\",\n${sql}    , \"${where}\", ${params_name}, ${results_name}, "
      "${param_count}, ${result_count}, ${repeatable}},\n")
    set(name "")
  endif()
endmacro()

set(enum "")
set(shapes "")
set(rows "")
file(GLOB files ${SOURCE}/sql/queries/*.sql)
list(SORT files)
foreach(file IN LISTS files)
  get_filename_component(base ${file} NAME)
  read_lines(${file} lines)
  set(line_number 0)
  set(header "")
  set(name "")
  foreach(line IN LISTS lines)
    math(EXPR line_number "${line_number} + 1")
    if(line MATCHES "^--[ ]*name[ ]*:[ ]*(.*)$")
      set(rest "${CMAKE_MATCH_1}")
      if(NOT header STREQUAL "")
        message(FATAL_ERROR "${where}: this header has no end")
      endif()
      end_statement()
      set(where "sql/queries/${base}:${line_number}")
      set(header "${rest}")
    elseif(NOT header STREQUAL "" AND line MATCHES "^--[ ]*(.*)$")
      string(APPEND header " ${CMAKE_MATCH_1}")
    elseif(NOT header STREQUAL "")
      message(FATAL_ERROR "${where}: a header looks like: -- name: run_create (uuid, jsonb) -> (timestamptz) repeatable")
    elseif(name AND NOT line MATCHES "^[ ]*(--.*)?$")
      string(APPEND sql "    \"${line}\\n\"\n")
    elseif(NOT name AND NOT line MATCHES "^[ ]*(--.*)?$")
      message(FATAL_ERROR "sql/queries/${base}:${line_number}: text before the first header")
    endif()
    if(header MATCHES "-> *\\([^()]*\\).*$")
      begin_statement()
    endif()
  endforeach()
  if(NOT header STREQUAL "")
    message(FATAL_ERROR "${where}: this header has no end")
  endif()
  end_statement()
endforeach()

set(made "/* Made from sql/ by sql/embed.cmake. */\n")
file(CONFIGURE OUTPUT ${OUT}/stmt.h @ONLY CONTENT [[@made@#ifndef WINNOW_STORAGE_STMT_H
#define WINNOW_STORAGE_STMT_H

enum stmt {
@enum@  STMT_COUNT
};

#endif
]])
file(CONFIGURE OUTPUT ${OUT}/stmt_table.c @ONLY CONTENT [[@made@#include "storage/pg/stmt_info.h"

@shapes@
const struct stmt_info stmt_table[STMT_COUNT] = {
@rows@};
]])

set(list "")
set(before 0)
file(GLOB files ${SOURCE}/sql/migrations/*.sql)
list(SORT files)
foreach(file IN LISTS files)
  get_filename_component(name ${file} NAME_WE)
  if(NOT name MATCHES "^([0-9][0-9][0-9][0-9])_[a-z0-9_]+$" OR NOT CMAKE_MATCH_1 GREATER before)
    message(FATAL_ERROR "${file}:1: a migration is to be named NNNN_what_it_does.sql, its number above ${before}")
  endif()
  set(before ${CMAKE_MATCH_1})
  file(SHA256 ${file} sum)
  read_lines(${file} lines)
  string(APPEND list "  {\"${name}\",\n")
  foreach(line IN LISTS lines)
    string(APPEND list "    \"${line}\\n\"\n")
  endforeach()
  string(APPEND list "    , \"${sum}\"},\n")
endforeach()
set(schema "")
if(EXISTS ${SOURCE}/sql/schema.sql)
  read_lines(${SOURCE}/sql/schema.sql lines)
  foreach(line IN LISTS lines)
    string(APPEND schema "  \"${line}\\n\"\n")
  endforeach()
endif()
file(CONFIGURE OUTPUT ${OUT}/migrations.c @ONLY CONTENT [[@made@#include "storage/pg/stmt_info.h"

const struct migration migrations[] = {
@list@};

const size_t migration_count = sizeof migrations / sizeof migrations[0];

const char schema_snapshot[] = ""
@schema@;
]])
