%% SPDX-License-Identifier: GPL-3.0-or-later
%% Copyright (c) 2026 emqx.fleet contributors

-module(esockd).
-export([open/4, close/1, listeners/0, get_current_connections/1, get_acceptors/1]).

%% Opens a listener; MFA is called as M:F(Socket, A...) for every connection and answers {ok, Pid}.
open(Proto, ListenOn, Options, MFA) ->
    Spec = #{id => {Proto, ListenOn},
             start => {esockd_listener, start_link, [Proto, ListenOn, Options, MFA]},
             shutdown => 2000},
    supervisor:start_child(esockd_sup, Spec).

close(Id) ->
    _ = supervisor:terminate_child(esockd_sup, Id),
    supervisor:delete_child(esockd_sup, Id).

listeners() ->
    lists:sort([{Id, Pid} || {Id, Pid, _, _} <- supervisor:which_children(esockd_sup), is_pid(Pid)]).

get_current_connections(Id) ->
    ask(Id, connections).

get_acceptors(Id) ->
    ask(Id, acceptors).

ask(Id, Question) ->
    case lists:keyfind(Id, 1, listeners()) of
        {_, Pid} -> gen_server:call(Pid, Question);
        false -> 0
    end.
