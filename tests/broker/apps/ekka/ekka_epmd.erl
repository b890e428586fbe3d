%% SPDX-License-Identifier: GPL-3.0-or-later
%% Copyright (c) 2026 emqx.fleet contributors

%% Stands in for epmd: the distribution port follows from the digits at the end of the node's name,
%% so that nobody has to ask for it (emqx@h: 4370, emqx1@h: 4371).
-module(ekka_epmd).
-export([start_link/0, register_node/2, register_node/3, listen_port_please/2,
         port_please/2, port_please/3, address_please/3, names/0, names/1, port/1]).

-define(BASE, 4370).
-define(DIST_VERSION, 6).

start_link() ->
    ignore.

register_node(Name, Port) ->
    register_node(Name, Port, inet).

register_node(_Name, _Port, _Family) ->
    {ok, rand:uniform(3)}.

listen_port_please(Name, _Host) ->
    {ok, port(Name)}.

port_please(Name, Host) ->
    port_please(Name, Host, infinity).

port_please(Name, _Host, _Timeout) ->
    {port, port(Name), ?DIST_VERSION}.

address_please(Name, Host, Family) ->
    case inet:getaddr(Host, Family) of
        {ok, Address} -> {ok, Address, port(Name), ?DIST_VERSION};
        {error, _} = Error -> Error
    end.

names() ->
    {error, address}.

names(_Host) ->
    {error, address}.

port(Name) when is_atom(Name) ->
    port(atom_to_list(Name));
port(Name) ->
    [Alive | _] = string:split(Name, "@"),
    Digits = lists:takewhile(fun(C) -> C >= $0 andalso C =< $9 end, lists:reverse(Alive)),
    ?BASE + case Digits of
                [] -> 0;
                _ -> list_to_integer(lists:reverse(Digits))
            end.
