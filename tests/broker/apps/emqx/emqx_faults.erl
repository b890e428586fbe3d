%% SPDX-License-Identifier: GPL-3.0-or-later
%% Copyright (c) 2026 emqx.fleet contributors

%% Misbehaviour for tests. Each fault is a file data/faults/<name>; its content is the fault's argument.
%% A file <name>-<version> counts only when that version is being switched to (relup_*) or started.
-module(emqx_faults).
-export([start/0, relup/1, is_on/1, cut_off/1, close/1, crash/1]).

start() ->
    case read("start_crash", emqx_app:get_release()) of
        {ok, _} -> {error, start_crash};
        none -> ok
    end.

%% Every relup calls this in the release handler, just before the code is replaced.
relup(Target) ->
    [run(Name, Argument, Target)
     || Name <- ["relup_alarm", "relup_close_clients", "relup_drop_clients", "relup_setting", "relup_close_listener",
                 "relup_sleep", "relup_hang", "relup_crash"],
        {ok, Argument} <- [read(Name, Target)]],
    ok.

%% For `emqx eval`: ends that many clients outside of a switch; README.md tells how they differ.
cut_off(N) -> emqx_cm:cut_off(N).
close(N) -> emqx_cm:close(N).
crash(N) -> emqx_cm:crash(N).

%% A fault that lasts, of the version that runs.
is_on(Name) ->
    read(Name, emqx_app:get_release()) =/= none.

run("relup_alarm", Name, _) -> emqx_alarm:activate(list_to_atom(Name));
run("relup_drop_clients", "", _) -> emqx_cm:close_all();
run("relup_drop_clients", Number, _) -> cut_off(list_to_integer(Number));
run("relup_close_clients", "", _) -> close(all);
run("relup_close_clients", Number, _) -> close(list_to_integer(Number));
run("relup_setting", Value, _) -> application:set_env(emqx, changed_by_relup, Value);
run("relup_close_listener", Name, _) ->
    [esockd:close(Id) || {Id = {Proto, _}, _} <- esockd:listeners(), atom_to_list(Proto) =:= Name];
run("relup_sleep", Seconds, _) -> timer:sleep(list_to_integer(Seconds) * 1000);
run("relup_hang", _, Target) -> hang(Target);
run("relup_crash", _, _) -> exit(relup_crash).

%% Tells that it hangs by a file of its own.
hang(Target) ->
    Sign = filename:join(dir(), "relup_hangs"),
    _ = file:write_file(Sign, Target),
    case read("relup_hang", Target) of
        {ok, _} -> timer:sleep(50), hang(Target);
        none -> file:delete(Sign)
    end.

read(Name, Version) ->
    case [string:trim(binary_to_list(Bin)) || File <- [Name ++ "-" ++ Version, Name],
                                               {ok, Bin} <- [file:read_file(filename:join(dir(), File))]] of
        [Argument | _] -> {ok, Argument};
        [] -> none
    end.

dir() ->
    filename:join([code:root_dir(), application:get_env(emqx, data_dir, "data"), "faults"]).
