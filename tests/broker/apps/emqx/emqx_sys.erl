%% SPDX-License-Identifier: GPL-3.0-or-later
%% Copyright (c) 2026 emqx.fleet contributors

-module(emqx_sys).
-export([version/0, sysdescr/0, uptime/0, datetime/0, started/0]).

version() ->
    emqx_app:get_release().

sysdescr() ->
    emqx_app:get_description().

started() ->
    persistent_term:put(?MODULE, erlang:monotonic_time(second)).

-ifdef(vm_uptime).
age() ->
    {Milliseconds, _} = erlang:statistics(wall_clock),
    Milliseconds div 1000.
-else.
%% Falls back to zero when the application is restarted in the same operating system process.
age() ->
    erlang:monotonic_time(second) - persistent_term:get(?MODULE, erlang:monotonic_time(second)).
-endif.

uptime() ->
    Seconds = age(),
    {Days, {H, M, S}} = calendar:seconds_to_daystime(Seconds),
    Parts = lists:dropwhile(fun({N, _}) -> N =:= 0 end,
                            [{Days, "days"}, {H, "hours"}, {M, "minutes"}, {S, "seconds"}]),
    case Parts of
        [] -> "0 seconds";
        _ -> lists:flatten(lists:join(", ", [[integer_to_list(N), " ", Unit] || {N, Unit} <- Parts]))
    end.

datetime() ->
    {{Y, M, D}, {HH, MM, SS}} = calendar:local_time(),
    lists:flatten(io_lib:format("~4..0w-~2..0w-~2..0w ~2..0w:~2..0w:~2..0w", [Y, M, D, HH, MM, SS])).
